package eval

import (
	"math"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
)

// TestSoundControls: the controls replace the sound, so a model that hears is scored otherwise with
// each; bad rows are skipped and counted.
func TestSoundControls(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	l := vlmtest.HearingModel(t, dev)
	file := vlmtest.SoundData(t, 30)
	nll := map[string]float64{}
	for _, control := range []string{ControlNone, ControlShuffled, ControlBlank} {
		r, err := Run(t.Context(), l, Options{Data: data.Local(file), Control: control})
		require.NoError(t, err)
		// Rows 10, 12 and 21 are broken, 25 has no bytes.
		if r.Samples != 26 || r.Turns != 26 || r.Skipped != 4 {
			t.Errorf("%s: %d samples, %d turns, %d skipped", control, r.Samples, r.Turns, r.Skipped)
		}
		nll[control] = r.NLLPerToken
	}
	for _, pair := range [][2]string{{ControlNone, ControlShuffled}, {ControlNone, ControlBlank}, {ControlShuffled, ControlBlank}} {
		if a, b := nll[pair[0]], nll[pair[1]]; math.Abs(a-b) < 1e-4 {
			t.Errorf("the loss is %g with the control %s and %g with %s", a, pair[0], b, pair[1])
		}
	}
}

// TestSoundScore: a turn's score in a batch is that of its answer generated token by token.
func TestSoundScore(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	l := vlmtest.HearingModel(t, dev)
	e := &evaluator{Runner: l, generator: generate.New(l), scorers: map[int]*scorer{}}
	defer e.close()
	samples, _, err := audio.Decode(vlmtest.Tone(700, 5000), 16_000)
	require.NoError(t, err)
	files := data.Prepared{Clips: [][]float32{samples}}
	turns := []chat.Turn{{User: "what word is it?", Assistant: "yes"}, {User: "and now?", Assistant: "no"}}
	all, err := e.score(t.Context(), files, turns)
	require.NoError(t, err)
	for i, turn := range turns {
		prompt, err := l.Processor.Prompt(e.conversation(files, []chat.Turn{turn}), nil)
		require.NoError(t, err)
		got, err := e.generator.Generate(t.Context(), prompt, nil, generate.Options{MaxNewTokens: 1, Clips: files.Clips})
		require.NoError(t, err)
		if first := append(got.IDs, l.Processor.EOSIDs()...)[0]; first != all[i].argmax[0] {
			t.Errorf("turn %d: the first token is %d generated and %d scored", i, first, all[i].argmax[0])
		}
	}
}
