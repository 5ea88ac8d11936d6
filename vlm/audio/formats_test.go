package audio

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tones is the content of testdata/tones.*: half a second in stereo, 440 Hz on the left and 1000 Hz
// on the right, an amplitude of 8000/32768, 22050 samples a second. flac 1.4.2 -8, lame 3.100 -b 64 and
// oggenc 1.4.2 -q 3 made the files.
var tones = Info{Rate: 22050, Channels: 2, Seconds: 0.5}

// level returns the amplitude of a tone in samples, and how loud the rest is.
func level(samples []float32, rate, hertz float64) (amplitude float64) {
	var sin, cos float64
	for i, v := range samples {
		s, c := math.Sincos(2 * math.Pi * hertz * float64(i) / rate)
		sin, cos = sin+s*float64(v), cos+c*float64(v)
	}
	return 2 * math.Hypot(sin, cos) / float64(len(samples))
}

// TestFormats decodes a file of every format; lossy ones are a little longer or shorter and not
// exact.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		file, format string
		delay        float64 // seconds that the encoder adds at most
		tolerance    float64 // of an amplitude
	}{
		{"tones.flac", "FLAC", 0, 1e-3},
		{"tones.mp3", "MP3", 0.15, 0.06},
		{"tones.ogg", "Ogg Vorbis", 0, 0.02},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		samples, info, err := Decode(data, 16_000)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if info.Format != c.format || info.Rate != tones.Rate || info.Channels != tones.Channels || info.Seconds < tones.Seconds || info.Seconds > tones.Seconds+c.delay {
			t.Errorf("%s: %+v, want %+v", c.file, info, tones)
		}
		if want := int(math.Ceil(info.Seconds * 16_000)); len(samples) < want-1 || len(samples) > want+1 {
			t.Errorf("%s: %d samples, want %d", c.file, len(samples), want)
		}
		middle := samples[2000:6000] // whole periods of both
		for hertz, want := range map[float64]float64{440: 8000. / 32768 / 2, 1000: 8000. / 32768 / 2, 700: 0, 3000: 0} {
			if got := level(middle, 16_000, hertz); math.Abs(got-want) > c.tolerance*0.25 {
				t.Errorf("%s: an amplitude of %.4f at %g Hz, want %.4f", c.file, got, hertz, want)
			}
		}
	}
}

// TestCutShort: every format tells that its file ends too early, and damage inside does not panic.
func TestCutShort(t *testing.T) {
	for _, name := range []string{"tones.flac", "tones.mp3", "tones.ogg"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []int{3, 10, 40, 100, 500, len(data) / 2, len(data) * 3 / 4} {
			if _, _, err := Decode(data[:part], 16_000); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("the first %d bytes of %s: %v", part, name, err)
			}
		}
		for i := 0; i < len(data); i += 101 {
			broken := append([]byte(nil), data...)
			broken[i] ^= 0x5A
			if _, _, err := Decode(broken, 16_000); err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("byte %d of %s: %v", i, name, err)
			}
		}
	}
}

// oggFile puts packets into a file of one page.
func oggFile(packets ...[]byte) []byte {
	const both = 2 | 4 // the first page and the last
	out := append([]byte("OggS\x00"), both)
	out = append(out, make([]byte, 20)...)
	var table, content []byte
	for _, p := range packets {
		for n := len(p); ; n -= 255 {
			table = append(table, byte(min(n, 255)))
			if n < 255 {
				break
			}
		}
		content = append(content, p...)
	}
	return slices.Concat(out, []byte{byte(len(table))}, table, content)
}

// TestVorbisBombs: headers of a few bytes that ask for gigabytes are refused before they are decoded.
func TestVorbisBombs(t *testing.T) {
	id := append([]byte("\x01vorbis\x00\x00\x00\x00\x02\x22\x56\x00\x00"), make([]byte, 14)...)
	comments := []byte("\x03vorbis\x00\x00\x00\x00\x00\x00\x00\x00\x01")
	setup := func(codebook ...byte) []byte {
		return append([]byte("\x05vorbis\x00BCV"), append(codebook, make([]byte, 40)...)...)
	}
	for name, file := range map[string][]byte{
		"entries":       oggFile(id, comments, setup(1, 0, 0xff, 0xff, 0xff)),
		"dimensions":    oggFile(id, comments, setup(0xff, 0xff, 0xff, 0, 0)),
		"no entries":    oggFile(id, comments, setup(1, 0, 0, 0, 0)),
		"comments":      oggFile(id, []byte("\x03vorbis\x00\x00\x00\x00\xff\xff\xff\xff\x01"), setup(1, 0, 1, 0, 0)),
		"a long vendor": oggFile(id, []byte("\x03vorbis\xff\xff\xff\xff\x00\x00\x00\x00\x01"), setup(1, 0, 1, 0, 0)),
		"one packet":    oggFile(id),
	} {
		if _, _, err := Decode(file, 16_000); err == nil || err != error(errBadHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: any bytes give samples that are finite and not too many, or one line.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"tones.flac", "tones.mp3", "tones.ogg"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(wav(wavPCM, 2, 16000, 16, make([]byte, 400)))
	f.Add(wav(wavExtensible, 1, 8000, 24, make([]byte, 300)))
	f.Add(wav(wavFloat, 1, 44100, 32, floats(0.5, -0.5, 1e30)))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, info, err := Decode(data, 16_000)
		if err != nil {
			if samples != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d samples with %q", len(samples), err)
			}
			return
		}
		if len(samples) == 0 || len(samples) > MaxSeconds*16_000 || info.Format == "" || info.Rate < MinRate || info.Channels < 1 {
			t.Errorf("%d samples of %+v", len(samples), info)
		}
		for i, v := range samples {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("sample %d of %+v is %g", i, info, v)
			}
		}
	})
}
