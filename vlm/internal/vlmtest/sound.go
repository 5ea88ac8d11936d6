package vlmtest

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// soundRate is the rate of Tone and of HearingModel.
const soundRate = 16_000

// Tone returns a WAV file of a number of samples at 16 kHz of a sine.
func Tone(hertz float64, samples int) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("RIFF"), uint32(36+2*samples))
	out = append(out, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	out = le.AppendUint32(le.AppendUint32(out, soundRate), 2*soundRate)
	out = le.AppendUint32(append(out, "\x02\x00\x10\x00data"...), uint32(2*samples))
	for i := range samples {
		out = le.AppendUint16(out, uint16(int16(20_000*math.Sin(2*math.Pi*hertz*float64(i)/soundRate))))
	}
	return out
}

// SoundData writes n rows in row groups of 9: a high or a low tone of some length and a question
// about it. Every seventh has two clips with places in the question, every eleventh a broken clip,
// every thirteenth a null one.
func SoundData(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.CreateWithSound(path)
	require.NoError(t, err)
	w.GroupRows = 9
	for i := range n {
		hertz, answer := 440.0, "yes"
		if i%2 == 1 {
			hertz, answer = 2000, "no"
		}
		r := data.Row{Clips: [][]byte{Tone(hertz, 1500+137*(i%23))}, Turns: []data.Turn{{User: "what word is it?", Assistant: answer}}}
		switch {
		case i%7 == 6:
			r.Clips = append(r.Clips, Tone(hertz, 700))
			r.Turns[0].User = "<|audio|> what <|audio|> word is it?"
		case i%11 == 10:
			r.Clips[0] = []byte("no sound")
		case i%13 == 12:
			r.Clips[0] = nil
		}
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return path
}

// HearingModel returns a model of the words preset's sizes with two layers and random weights.
func HearingModel(t testing.TB, dev engine.Device) *vlm.Runner {
	t.Helper()
	c := Config(t, packing.Document)
	proc, err := pretrained.PresetProcessor("words", 0)
	require.NoError(t, err)
	require.NoError(t, proc.HearAudio())
	c.Vision = vlm.VisionConfig{}
	c.Audio = vlm.AudioConfig{SampleRate: soundRate, FrameSize: 640, HopSize: 320, HiddenSize: c.Text.HiddenSize, RMSNormEps: 1e-6}
	c.AudioTokenID = int(proc.AudioID())
	m, err := vlm.NewModel(c.Config, c.Init)
	require.NoError(t, err)
	m.StoreHalf(shaders.F32)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 3))
	return &vlm.Runner{Model: m, Processor: proc, Device: dev}
}
