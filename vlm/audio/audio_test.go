package audio

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// wav returns a WAV file with a fmt chunk and samples.
func wav(tag, channels, rate, bits int, samples []byte) []byte {
	le := binary.LittleEndian
	chunk := le.AppendUint16(nil, uint16(tag))
	chunk = le.AppendUint16(chunk, uint16(channels))
	chunk = le.AppendUint32(chunk, uint32(rate))
	chunk = le.AppendUint32(chunk, uint32(rate*channels*bits/8))
	chunk = le.AppendUint16(chunk, uint16(channels*bits/8))
	chunk = le.AppendUint16(chunk, uint16(bits))
	if tag == wavExtensible {
		chunk = append(chunk, 22, 0, byte(bits), 0, 3, 0, 0, 0, wavPCM, 0)
		chunk = append(chunk, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	}
	return riff(section("fmt ", chunk), section("LIST", []byte("abc")), section("data", samples))
}

func riff(sections ...[]byte) []byte {
	body := append([]byte("WAVE"), slices.Concat(sections...)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func section(id string, content []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(id), uint32(len(content))), content...)
	return append(out, make([]byte, len(content)%2)...)
}

func floats(values ...float32) (out []byte) {
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// TestWAV: every sample format, channels mixed.
func TestWAV(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want []float32
	}{
		{"8 bits", wav(wavPCM, 1, 16000, 8, []byte{0, 128, 255, 192}), []float32{-1, 0, 127. / 128, 0.5}},
		{"16 bits", wav(wavPCM, 1, 16000, 16, []byte{0, 0x80, 0, 0, 0, 0x40, 0xff, 0xff}), []float32{-1, 0, 0.5, -1. / 32768}},
		{"24 bits", wav(wavPCM, 1, 16000, 24, []byte{0, 0, 0x80, 0, 0, 0x40, 1, 0, 0}), []float32{-1, 0.5, 1. / (1 << 23)}},
		{"32 bits", wav(wavPCM, 1, 16000, 32, []byte{0, 0, 0, 0x80, 0, 0, 0, 0x20}), []float32{-1, 0.25}},
		{"float", wav(wavFloat, 1, 16000, 32, floats(0.125, -3)), []float32{0.125, -3}},
		{"double", wav(wavFloat, 1, 16000, 64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.7))), []float32{0.7}},
		{"stereo", wav(wavPCM, 2, 16000, 8, []byte{192, 128, 64, 192}), []float32{0.25, 0}},
		{"extensible", wav(wavExtensible, 1, 16000, 16, []byte{0, 0x40}), []float32{0.5}},
		{"half a sample at the end", wav(wavPCM, 2, 16000, 16, []byte{0, 0x40, 0, 0x40, 1, 0}), []float32{0.5}},
		{"piped by ffmpeg", piped(wav(wavPCM, 1, 16000, 16, []byte{0, 0x40}), 0xffffffff), []float32{0.5}},
		{"piped by espeak-ng", piped(wav(wavPCM, 1, 16000, 16, []byte{0, 0x40}), 0x7ffff000), []float32{0.5}},
		{"piped by others", piped(wav(wavPCM, 1, 16000, 16, []byte{0, 0x40}), 0), []float32{0.5}},
	} {
		got, info, err := Decode(c.file, 16000)
		if err != nil || !slices.Equal(got, c.want) || info.Format != "WAV" {
			t.Errorf("%s: %v, %+v, %v, want %v", c.name, got, info, err, c.want)
		}
	}
}

// piped sets the size of a file's last chunk.
func piped(file []byte, size uint32) []byte {
	at := strings.LastIndex(string(file), "data")
	binary.LittleEndian.PutUint32(file[at+4:], size)
	return file
}

// TestRefused: bad files get one clear line.
func TestRefused(t *testing.T) {
	whole := wav(wavPCM, 1, 16000, 16, make([]byte, 100))
	noFormat := riff(section("data", make([]byte, 10)))
	for _, c := range []struct {
		name, want string
		file       []byte
	}{
		{"empty", "the file is empty", nil},
		{"text", "not a sound file that is read", []byte("hello, this is no sound")},
		{"a picture", "not a sound file that is read", []byte("\x89PNG\r\n\x1a\n0000000000")},
		{"cut in the samples", "cut short: 60 bytes of samples, its header says 100", whole[:len(whole)-40]},
		{"cut in a chunk", "cut short in its chunk \"fmt \"", whole[:30]},
		{"cut after a chunk", "no samples: it is cut short", whole[:48]},
		{"no samples", "there are no samples", wav(wavPCM, 1, 16000, 16, nil)},
		{"no format", "no fmt chunk", noFormat},
		{"0 Hz", "a rate of 0 samples a second", wav(wavPCM, 1, 0, 16, make([]byte, 10))},
		{"a huge rate", "a rate of 4000000000", wav(wavPCM, 1, 4_000_000_000, 16, make([]byte, 10))},
		{"no channels", "0 channels", wav(wavPCM, 0, 16000, 16, make([]byte, 10))},
		{"many channels", "33 channels", wav(wavPCM, 33, 16000, 8, make([]byte, 99))},
		{"12 bits", "samples of 12 bits", wav(wavPCM, 2, 16000, 12, make([]byte, 12))},
		{"ADPCM", "format 0x2", wav(2, 1, 16000, 8, make([]byte, 12))},
		{"NaN", "a sample is NaN, which is no sound", wav(wavFloat, 1, 16000, 32, floats(0, float32(math.NaN())))},
		{"infinite", "a sample is +Inf", wav(wavFloat, 1, 16000, 32, floats(float32(math.Inf(1))))},
		{"infinite sum", "a sample is +Inf", wav(wavFloat, 2, 16000, 32, floats(3e38, 3e38))},
		{"huge", "a sample is 1e+30", wav(wavFloat, 1, 16000, 32, floats(1e30))},
		{"too long", "more than 10 minutes", wav(wavPCM, 1, 1000, 8, make([]byte, 600_001))},
		{"MP4", "MP4 (AAC) is not read: convert it", []byte("\x00\x00\x00\x20ftypM4A ")},
		{"Opus", "Ogg Opus is not read", append([]byte("OggS\x00\x02"), append(make([]byte, 22), "OpusHead"...)...)},
		{"AIFF", "AIFF is not read", []byte("FORM\x00\x00\x00\x00AIFF")},
		{"big-endian", "big-endian WAV is not read", []byte("RIFX\x00\x00\x00\x00WAVE")},
		{"FLAC of 4 bytes", "cut short", []byte("fLaC")},
		{"an ID3 tag alone", "cut short", []byte("ID3\x04\x00\x00\x00\x00\x00\x00")},
	} {
		_, _, err := Decode(c.file, 16000)
		var format *FormatError
		var unsupported *UnsupportedError
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !errors.As(err, &format) && !errors.As(err, &unsupported) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// sine returns a second of a sine.
func sine(rate int, hertz float64) []float32 {
	out := make([]float32, rate)
	for i := range out {
		out[i] = float32(math.Sin(2 * math.Pi * hertz * float64(i) / float64(rate)))
	}
	return out
}

func resample(from, to int, samples []float32) []float32 {
	r := newResampler(from, to)
	r.write(samples)
	return r.finish()
}

// TestResampleSweep: tones up to 0.84 of the lower Nyquist frequency come out as they are, those from
// 1.0 of it on not at all.
func TestResampleSweep(t *testing.T) {
	for _, rates := range [][2]int{{22050, 16000}, {44100, 16000}, {48000, 16000}, {96000, 16000}, {8000, 16000}, {11025, 16000}, {16001, 16000}, {191999, 16000}} {
		from, to := rates[0], rates[1]
		nyquist := float64(min(from, to)) / 2
		for _, fraction := range []float64{0.01, 0.1, 0.25, 0.5, 0.7, 0.84, 1.001, 1.05, 1.3, 1.9, 3} {
			hertz := fraction * nyquist
			if 2*hertz >= float64(from) {
				break
			}
			got := resample(from, to, sine(from, hertz))
			if want := (len(sine(from, hertz))*to + from - 1) / from; len(got) != want {
				t.Fatalf("%d → %d: %d samples, want %d", from, to, len(got), want)
			}
			worst := 0.0
			for i := to / 20; i < len(got)-to/20; i++ { // the ends have zeros beyond them
				want := math.Sin(2 * math.Pi * hertz * float64(i) / float64(to))
				if fraction > 1 {
					want = 0
				}
				worst = max(worst, math.Abs(float64(got[i])-want))
			}
			// 80 dB.
			if limit := 2e-4; worst > limit {
				t.Errorf("%d → %d, a tone at %.3f of the Nyquist frequency: off by %.2g, want at most %g", from, to, fraction, worst, limit)
			}
		}
	}
}

// TestResampleChunks: the result does not depend on how the samples come in.
func TestResampleChunks(t *testing.T) {
	samples := sine(22050, 700)[:7001]
	want := resample(22050, 16000, samples)
	for _, n := range []int{1, 7, 1000, 7000} {
		r := newResampler(22050, 16000)
		for chunk := range slices.Chunk(samples, n) {
			r.write(chunk)
		}
		if got := r.finish(); !slices.Equal(got, want) {
			t.Errorf("in chunks of %d the result differs", n)
		}
	}
	if got := resample(16000, 16000, samples); !slices.Equal(got, samples) {
		t.Error("the same rate changes samples")
	}
}

// TestResampleShort: files shorter than the filter.
func TestResampleShort(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		if got := resample(48000, 16000, make([]float32, n)); len(got) != (n+2)/3 {
			t.Errorf("%d samples at 48 kHz become %d at 16 kHz", n, len(got))
		}
	}
	if got := resample(8000, 16000, []float32{1}); len(got) != 2 || got[0] < 0.8 || got[0] > 1.1 {
		t.Errorf("one sample at 8 kHz becomes %v", got)
	}
}
