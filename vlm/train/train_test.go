package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

func trainOn(t testing.TB, dev engine.Device, r Recipe, files []string, out string, resume bool, observe Observer) (Result, error) {
	t.Helper()
	return Run(context.Background(), Options{Recipe: r, Data: data.Local(files...), Out: out, Resume: resume, Device: dev, Observe: observe})
}

// losses reads the loss of every step from metrics.jsonl.
func losses(t testing.TB, out string) []float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	require.NoError(t, err)
	var all []float64
	for line := range strings.Lines(string(text)) {
		var m struct {
			Step int
			Loss *float64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		if m.Loss != nil {
			if all = append(all, *m.Loss); len(all) != m.Step {
				t.Fatalf("line %d of metrics.jsonl is step %d", len(all), m.Step)
			}
		}
	}
	return all
}

func same(t *testing.T, what string, a, b []float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d and %d steps", what, len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("%s: losses of step %d are %v and %v", what, i+1, a[i], b[i])
		}
	}
}

// TestTrainIsDeterministic: the same seed gives the same bits with any number of threads.
func TestTrainIsDeterministic(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 12)
	var runs [][]float64
	for _, threads := range []int{1, 2, 3} {
		out := filepath.Join(t.TempDir(), "run")
		_, err := trainOn(t, cpu.Open(threads), r, files, out, false, Observer{})
		require.NoError(t, err)
		runs = append(runs, losses(t, out))
	}
	same(t, "1 and 2 threads", runs[0], runs[1])
	same(t, "1 and 3 threads", runs[0], runs[2])
	if first, last := runs[0][0], runs[0][11]; last >= first {
		t.Errorf("the loss went from %v to %v", first, last)
	}
}

// TestResume interrupts and resumes a run twice: losses and weights are the same as without
// interruption. The interruptions fall before, at and after the end of the frozen stage.
func TestResume(t *testing.T) {
	for i, c := range []struct {
		frozen    int
		dtype     string
		optimizer string
	}{
		{0, "f32", OptimizerAdamW}, {7, "f32", OptimizerMuon}, {5, "bf16", OptimizerAdamW8Bit}, // all that -short runs
		{5, "f32", OptimizerAdamW}, {14, "f32", OptimizerMuon}, {7, "bf16", OptimizerAdamW}, {0, "f16", OptimizerAdamW}, {0, "f32", OptimizerMuon},
		{5, "bf16", OptimizerMuon}, {5, "f32", OptimizerAdamW8Bit}, {0, "bf16", OptimizerAdamW8Bit},
	} {
		if testing.Short() && i > 2 {
			break
		}
		t.Run(fmt.Sprintf("frozen %d in %s with %s", c.frozen, c.dtype, c.optimizer), func(t *testing.T) {
			r := testRecipe(t, 14)
			r.Accumulate, r.FreezeDecoderSteps, r.DType, r.Optimizer = 2, c.frozen, c.dtype, c.optimizer
			r.Flip, r.Vision.MeanColors = c.optimizer == OptimizerMuon, c.optimizer == OptimizerMuon
			testResume(t, r)
		})
	}
}

func testResume(t *testing.T, r Recipe) {
	files := []string{vlmtest.Data(t, 40)}
	reference, stopped := filepath.Join(t.TempDir(), "reference"), filepath.Join(t.TempDir(), "stopped")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	for attempt, until := range []int{5, 9, 0} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err := Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: stopped, Resume: attempt > 0, Device: cpu.Open(0),
			Observe: Observer{Step: func(m StepMetrics) {
				if m.Step == until {
					cancel()
				}
			}}})
		if until > 0 && !errors.Is(err, context.Canceled) {
			t.Fatalf("a run that was interrupted returned %v", err)
		}
		if until == 0 {
			require.NoError(t, err)
		}
	}
	same(t, "an interrupted run and an uninterrupted one", losses(t, reference), losses(t, stopped))
	a, err := os.ReadFile(filepath.Join(reference, pretrained.WeightsFile))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(stopped, pretrained.WeightsFile))
	require.NoError(t, err)
	if string(a) != string(b) {
		t.Error("the weights differ")
	}
	if n := len(checkpoint.Names(filepath.Join(stopped, "checkpoints"))); n > DefaultKeep {
		t.Errorf("%d checkpoints are kept, want %d", n, DefaultKeep)
	}
}

func TestResumeRefusesOtherSettings(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, testRecipe(t, 3)
	out := filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
	require.NoError(t, err)
	r.LR, r.SeqLen, r.Seed, r.Flip = 2*r.LR, 200, 5, !r.Flip
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	var settings *SettingsError
	if !errors.As(err, &settings) || strings.Join(settings.Names, " ") != "flip seed seq-len" {
		t.Errorf("got %v, want flip, seed and seq-len named", err)
	}
	r = testRecipe(t, 3)
	r.Recompute = "on" // which changes no bit
	if _, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{}); err != nil {
		t.Error("with activations recomputed: ", err)
	}
	if !Finished(out) {
		t.Error("the rejected run damaged the finished one")
	}
}

// TestAccumulate: two micro-batches of one row give the same step as one batch of two rows.
func TestAccumulate(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	run := func(rows, accumulate int) []float64 {
		r := testRecipe(t, 6)
		r.BatchSize, r.Accumulate, r.Shuffle = rows, accumulate, false
		out := filepath.Join(t.TempDir(), "run")
		_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
		require.NoError(t, err)
		return losses(t, out)
	}
	one, two := run(2, 1), run(1, 2)
	for i := range one {
		// Another summation order: a few roundings of 2^-24 of a loss of about 10, amplified
		// by six steps.
		if math.Abs(one[i]-two[i]) > 1e-4*math.Abs(one[i]) {
			t.Errorf("step %d: %v with one batch of two rows, %v with two of one", i+1, one[i], two[i])
		}
	}
}

// TestMemoryEstimate compares the estimate with the device's own count.
func TestMemoryEstimate(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	for _, c := range []struct {
		name string
		set  func(r *Recipe)
	}{
		{"llama", func(r *Recipe) {}},
		{"qwen3", func(r *Recipe) { r.Text = vlmtest.Qwen3(*r.Text) }},
		{"accumulated", func(r *Recipe) { r.Accumulate = 3 }},
		{"qwen3 accumulated", func(r *Recipe) { r.Text, r.Accumulate = vlmtest.Qwen3(*r.Text), 2 }},
		{"validated", func(r *Recipe) { r.ValEvery = 2 }},
		{"frozen at first", func(r *Recipe) { r.FreezeDecoderSteps = 2 }},
		{"frozen to the end", func(r *Recipe) { r.FreezeDecoderSteps = r.Steps }},
		{"recomputed", func(r *Recipe) { r.Recompute = "on" }},
		{"with mean colors", func(r *Recipe) { r.Vision.MeanColors = !r.Vision.MeanColors }},
		{"with another optimizer", func(r *Recipe) {
			r.Optimizer = map[string]string{OptimizerAdamW: OptimizerMuon, OptimizerMuon: OptimizerAdamW}[r.Optimizer]
		}},
		{"moments of 8 bits", func(r *Recipe) { r.Optimizer = OptimizerAdamW8Bit }},
		{"in bf16", func(r *Recipe) { r.DType = "bf16" }},
		{"rounding weights", func(r *Recipe) { r.QAT = "q4_0" }},
		{"rounding weights in bf16", func(r *Recipe) { r.QAT, r.DType = "q8_0", "bf16" }},
		{"in f16 recomputed", func(r *Recipe) { r.DType, r.Recompute = "f16", "on" }},
		{"qwen3 recomputed", func(r *Recipe) { r.Text, r.Recompute, r.Accumulate = vlmtest.Qwen3(*r.Text), "on", 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRecipe(t, 4)
			r.Text.NumHiddenLayers = 6
			c.set(&r)
			e, err := Estimate(r, r.Recompute == "on")
			require.NoError(t, err)
			dev := cpu.Open(0)
			_, err = trainOn(t, dev, r, files, filepath.Join(t.TempDir(), "run"), false, Observer{})
			require.NoError(t, err)
			_, peak := dev.MemoryInUse()
			if ratio := float64(peak) / float64(e.MemoryBytes.Total); ratio > 1.1 || ratio < 0.9 {
				t.Errorf("the run took %d bytes, estimated %d: ratio %.2f", peak, e.MemoryBytes.Total, ratio)
			}
		})
	}
}

func TestTooManyBadRows(t *testing.T) {
	r := testRecipe(t, 4)
	files := []string{filepath.Join("..", "data", "testdata", "quirks", "train-00000-of-00001.parquet")}
	r.HoldOut = 0
	out := filepath.Join(t.TempDir(), "run")
	r.Steps = 10000
	_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
	var bad *data.BadRowsError
	if !errors.As(err, &bad) {
		t.Fatalf("got %v, want too many bad rows", err)
	}
	r.MaxBadFraction, r.Steps = 0.5, 6
	result, err := trainOn(t, cpu.Open(0), r, files, filepath.Join(t.TempDir(), "run"), false, Observer{})
	require.NoError(t, err)
	if result.RowsSkipped == 0 {
		t.Error("no row was skipped")
	}
}

// testRecipe is the shapes preset, reduced to run within seconds.
func testRecipe(t testing.TB, steps int) Recipe {
	t.Helper()
	r, err := Preset("shapes")
	require.NoError(t, err)
	r.Steps, r.SeqLen, r.PoolSize, r.Warmup, r.ValEvery, r.SaveEvery, r.ValRows = steps, 256, 16, 4, 0, 0, 4
	text := *r.Text
	text.NumHiddenLayers = 2
	r.Text = &text
	return r
}
