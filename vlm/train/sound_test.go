package train

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

// soundRecipe is the words preset, small.
func soundRecipe(t *testing.T, steps int) Recipe {
	t.Helper()
	r, err := Preset("words")
	require.NoError(t, err)
	r.Steps, r.SeqLen, r.PoolSize, r.Warmup, r.ValEvery, r.SaveEvery, r.ValRows, r.MaxBadFraction = steps, 256, 16, 4, 0, 0, 4, 1
	text := *r.Text
	text.NumHiddenLayers = 2
	r.Text = &text
	return r
}

// TestTrainOnSound: a model tells two tones apart; a run that is interrupted and resumed has the
// losses of one that was not, bit for bit.
func TestTrainOnSound(t *testing.T) {
	file, r := vlmtest.SoundData(t, 60), soundRecipe(t, 80)
	r.SaveEvery, r.ValEvery = 10, 80
	run := func(ctx context.Context, out string, resume bool, step func(StepMetrics)) error {
		_, err := Run(ctx, Options{Recipe: r, Data: data.Local(file), Out: out, Resume: resume, Device: cpu.Open(1), Observe: Observer{Step: step}})
		return err
	}
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	require.NoError(t, run(t.Context(), whole, false, nil))
	want := losses(t, whole)
	if last := want[len(want)-1]; last > 0.2 {
		t.Errorf("the loss after %d steps is %g", r.Steps, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := run(ctx, broken, false, func(m StepMetrics) {
		if m.Step == 14 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	require.NoError(t, run(t.Context(), broken, true, nil))
	if got := losses(t, broken); !slices.Equal(got, want) {
		t.Errorf("the losses of a resumed run differ:\n%v\n%v", got, want)
	}
}

// TestEstimateOfSound: a dry run counts the frames.
func TestEstimateOfSound(t *testing.T) {
	r, err := Preset("words")
	require.NoError(t, err)
	hears, err := Estimate(r, false)
	require.NoError(t, err)
	r.Audio.FrameSize, r.Audio.HopSize = 1280, 320
	larger, err := Estimate(r, false)
	require.NoError(t, err)
	if more := larger.Parameters - hears.Parameters; more != 640*96 {
		t.Errorf("%d more parameters with frames twice as long, want 640·96", more)
	}
	if larger.FlopsPerStep <= hears.FlopsPerStep || larger.MemoryBytes.Activations <= hears.MemoryBytes.Activations {
		t.Error("frames twice as long take no more work or memory")
	}
}
