package loader

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/audio"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

var soundConfig = vlm.AudioConfig{SampleRate: 16_000, FrameSize: 640, HopSize: 320, HiddenSize: 96, RMSNormEps: 1e-6}

// soundLoader makes a loader of a file of sound for one of several ranks.
func soundLoader(t testing.TB, file string, c Config, part Part) (*Loader, *data.RowStats) {
	t.Helper()
	d, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	p, err := pretrained.PresetProcessor("words", 0)
	require.NoError(t, err)
	require.NoError(t, p.HearAudio())
	c.Part, c.Vision, c.Audio = part, vlm.VisionConfig{}, soundConfig
	stats := data.NewRowStats(nil)
	return New(d, rowsTo(d.Len()), p, c, stats), stats
}

// clipFrames returns the frames of every clip of an epoch, by the row and the clip.
func (l *Loader) clipFrames(t *testing.T, epoch, skip int) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	err := l.Epoch(t.Context(), epoch, skip, func(s *Step) bool {
		for _, b := range s.Batches {
			slots, rest := 0, b.Frames
			for _, slot := range b.FrameSlots {
				if slot >= 0 {
					slots++
				}
			}
			if len(b.Frames) != slots*l.Audio.FrameSize {
				t.Errorf("%d samples for %d tokens of sound", len(b.Frames), slots)
			}
			for _, row := range b.Samples {
				for _, sample := range row {
					for clip, span := range sample.Clips {
						n := span.Tokens * l.Audio.FrameSize
						out[fmt.Sprint(sample.Row, " ", clip)] = rest[:n]
						rest = rest[n:]
					}
				}
			}
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestSound: an epoch has the frames of every clip of every good row, and bad rows are counted; also
// with ranks, which send clips to each other.
func TestSound(t *testing.T) {
	file, c := vlmtest.SoundData(t, 100), testConfig()
	l, stats := soundLoader(t, file, c, Part{})
	got := l.clipFrames(t, 0, 0)
	bad := 0
	for i := range 100 {
		row, err := l.dataset.Row(i)
		require.NoError(t, err)
		if _, v := row.Samples(16_000); v.Status == data.Skip {
			bad++
			continue
		}
		for clip, file := range row.Clips {
			samples, _, err := audio.Decode(file, 16_000)
			require.NoError(t, err)
			if want := soundConfig.Frames(samples); !slices.Equal(got[fmt.Sprint(i, " ", clip)], want) {
				t.Errorf("row %d, clip %d: other frames than the file's", i, clip)
			}
			delete(got, fmt.Sprint(i, " ", clip))
		}
	}
	if len(got) > 0 || bad != 14 || stats.Bad() != bad {
		t.Errorf("%d clips too many; %d bad rows, %d counted", len(got), bad, stats.Bad())
	}
	want := l.clipFrames(t, 0, 0)
	exchange, parts := newExchange(2), make([]map[string][]float32, 2)
	var group sync.WaitGroup
	for rank := range 2 {
		part, _ := soundLoader(t, file, c, Part{rank, 2, exchangeEnd{exchange, rank}})
		group.Go(func() { parts[rank] = part.clipFrames(t, 0, 0) })
	}
	group.Wait()
	for _, part := range parts {
		if len(part) == 0 {
			t.Error("a rank has no clip")
		}
		for clip, frames := range part {
			if !slices.Equal(frames, want[clip]) {
				t.Errorf("clip %s differs with two ranks", clip)
			}
			delete(want, clip)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d clips are with no rank", len(want))
	}
}

// TestSoundRefused: rows with sound are bad for a model without, and rows with images for a model
// without images.
func TestSoundRefused(t *testing.T) {
	c := testConfig()
	c.MaxBadFraction = 1
	for name, l := range map[string]*Loader{
		"it has sound, which the model does not take":  loaderOf(t, vlmtest.SoundData(t, 4), c, Part{}),
		"it has images, which the model does not take": first(soundLoader(t, vlmtest.Data(t, 4), c, Part{})),
	} {
		samples, err := l.Samples(0)
		require.NoError(t, err)
		e := l.encode(&data.Streamed{Row: require.Value(l.dataset.Row(0))(t), Mine: true})
		if len(samples) > 0 || e.verdict.Reason != name {
			t.Errorf("%d samples, %q, want %q", len(samples), e.verdict.Reason, name)
		}
	}
}

func first(l *Loader, _ *data.RowStats) *Loader { return l }

// TestPerturb: clips change from epoch to epoch, but not their lengths, nor by where a run is resumed.
func TestPerturb(t *testing.T) {
	file, c := vlmtest.SoundData(t, 60), testConfig()
	plain := first(soundLoader(t, file, c, Part{})).clipFrames(t, 0, 0)
	c.Perturb = true
	l, _ := soundLoader(t, file, c, Part{})
	one, two, again := l.clipFrames(t, 1, 0), l.clipFrames(t, 2, 0), l.clipFrames(t, 1, 4)
	for clip, frames := range plain {
		if len(one[clip]) != len(frames) || slices.Equal(one[clip], frames) || slices.Equal(one[clip], two[clip]) {
			t.Errorf("clip %s: not changed, or its length", clip)
		}
		if resumed, ok := again[clip]; ok && !slices.Equal(resumed, one[clip]) {
			t.Errorf("clip %s differs in a resumed epoch", clip)
		}
	}
	if len(again) == 0 || len(again) >= len(one) {
		t.Errorf("%d of %d clips in the resumed epoch", len(again), len(one))
	}
}

// TestPerturbed: a click moves by the shift and the speed that are drawn, and the noise is bounded.
func TestPerturbed(t *testing.T) {
	const n, speed, shift = 12000, maxSpeed, int(maxShift * 16_000)
	at := 6000.0
	samples := make([]float32, n)
	samples[int(at)] = 1
	least, most := n, 0
	for seed := range 300 {
		got := perturbed(rand.New(rand.NewPCG(uint64(seed), 1)), samples, 16_000)
		peak, squares := 0, 0.0
		for i, v := range got {
			if v > got[peak] {
				peak = i
			}
		}
		for i, v := range got {
			if max(i-peak, peak-i) > 4 {
				squares += float64(v) * float64(v)
			}
		}
		least, most = min(least, peak), max(most, peak)
		if noise := math.Sqrt(squares / n); noise < noiseLow/2 || noise > 1.2*noiseHigh {
			t.Fatalf("seed %d: noise of %g", seed, noise)
		}
	}
	if lo, hi := int(at/(1+speed))-shift, int(at/(1-speed))+shift; least < lo || most > hi || least > lo+300 || most < hi-300 {
		t.Errorf("the click moved to %d at least and %d at most, want nearly %d to %d", least, most, lo, hi)
	}
}

// TestBetween: whole places are samples as they are, and those between two are close to the curve.
func TestBetween(t *testing.T) {
	samples := make([]float32, 100)
	for i := range samples {
		samples[i] = float32(math.Sin(0.3 * float64(i)))
	}
	for i := 2; i < 97; i++ {
		for _, f := range []float64{0, 0.25, 0.5} {
			x := float64(i) + f
			if got := between(samples, x); math.Abs(float64(got)-math.Sin(0.3*x)) > 1e-3 || f == 0 && got != samples[i] {
				t.Errorf("at %g: %g, want %g", x, got, math.Sin(0.3*x))
			}
		}
	}
	if between(samples, -5) != 0 || between(samples, 1e9) != 0 {
		t.Error("not silent outside")
	}
}
