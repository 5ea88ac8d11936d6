package train

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// savedWeights reads all parameters of a run's model.
func savedWeights(t *testing.T, out string) map[string][]float32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(out, pretrained.WeightsFile))
	require.NoError(t, err)
	defer f.Close()
	weights := map[string][]float32{}
	for _, name := range f.Names() {
		weights[name] = require.Value(f.Float32(name))(t)
	}
	return weights
}

// changed reports for each group whether any parameter differs from its initial value.
func changed(t *testing.T, r Recipe, out string) map[string]bool {
	t.Helper()
	p, err := pretrained.PresetProcessor(r.Preset, r.Vision.Patches())
	require.NoError(t, err)
	m, err := vlm.NewModel(r.configOf(*r.Text, p), r.Init)
	require.NoError(t, err)
	dev := cpu.Open(0)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, r.Seed))
	now, groups := savedWeights(t, out), map[string]bool{}
	for _, p := range m.Params.All() {
		start, err := m.Params.Read(dev, m.Params.Weights, p)
		require.NoError(t, err)
		for i, v := range now[p.Name] {
			groups[p.Group] = groups[p.Group] || v != start[i]
		}
	}
	return groups
}

// TestFrozenGroups: a frozen decoder, or a group with learning rate 0, keeps its exact weights
// while the other group is trained.
func TestFrozenGroups(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for _, c := range []struct {
		name              string
		set               func(r *Recipe)
		embedder, decoder bool // expected to change
	}{
		{"both", func(r *Recipe) {}, true, true},
		{"frozen", func(r *Recipe) { r.FreezeDecoderSteps = 3 }, true, false},
		{"frozen, accumulated", func(r *Recipe) { r.FreezeDecoderSteps, r.Accumulate = 3, 2 }, true, false},
		{"frozen but for the last step", func(r *Recipe) { r.FreezeDecoderSteps = 2 }, true, true},
		{"no decoder lr", func(r *Recipe) { r.LR = 0 }, true, false},
		{"no embedder lr", func(r *Recipe) { r.EmbedderLR = 0 }, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRecipe(t, 3)
			c.set(&r)
			out := filepath.Join(t.TempDir(), "run")
			_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
			require.NoError(t, err)
			got := changed(t, r, out)
			if got[vlm.GroupEmbedder] != c.embedder || got[vlm.GroupDecoder] != c.decoder {
				t.Errorf("changed: %v, want embedder %v and decoder %v", got, c.embedder, c.decoder)
			}
		})
	}
}

// TestRates: each group has its own peak, and the decoder's warm-up and cosine start when it is
// unfrozen.
func TestRates(t *testing.T) {
	tr := &trainer{Options: Options{Recipe: Recipe{FreezeDecoderSteps: 10}}, steps: 110, rates: map[string]nn.Schedule{
		vlm.GroupEmbedder: {Peak: 2, Warmup: 4, Floor: 0.1}, vlm.GroupDecoder: {Peak: 1, Warmup: 4, Floor: 0.1},
	}}
	for _, c := range []struct {
		group string
		step  int
		lr    float64
		n     int
	}{
		{vlm.GroupEmbedder, 1, 0.5, 1}, {vlm.GroupEmbedder, 4, 2, 4}, {vlm.GroupEmbedder, 110, 0.2, 110},
		{vlm.GroupDecoder, 1, 0, 0}, {vlm.GroupDecoder, 10, 0, 0}, {vlm.GroupDecoder, 11, 0.25, 1}, {vlm.GroupDecoder, 14, 1, 4}, {vlm.GroupDecoder, 110, 0.1, 100},
	} {
		if lr, n := tr.rate(c.group, c.step); math.Abs(lr-c.lr) > 1e-12 || n != c.n {
			t.Errorf("%s in step %d: %v and its step %d, want %v and %d", c.group, c.step, lr, n, c.lr, c.n)
		}
	}
}

// TestAccumulatedGradients: micro-batches with very different numbers of targets give the
// gradients of one batch of all rows, not the mean of their mean gradients.
func TestAccumulatedGradients(t *testing.T) {
	const tokens = 160
	r := testRecipe(t, 1)
	full := &Bench{}
	m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
	require.NoError(t, err)
	full.fillRandom(m.Config, 2, tokens, 1)
	targets := 0
	for i := range full.batch.Targets { // few in the second row
		if i >= tokens && i%tokens > 70 {
			full.batch.Targets[i] = packing.Ignore
		}
		if full.batch.Targets[i] >= 0 {
			targets++
		}
	}
	dev := cpu.Open(0)
	require.NoError(t, m.Allocate(dev, true))
	require.NoError(t, m.Params.Initialise(dev, 1))
	run := func(rows int, batches []*packing.Batch) (float64, map[string][]float32) {
		s, err := NewTrainStep(m, dev, StepShape{rows, tokens, rows}, nn.AdamW{MaxNorm: 1})
		require.NoError(t, err)
		defer s.Close()
		sums, pixels := make([][1]float32, len(batches)), len(full.pixels)/len(batches)
		for i, b := range batches {
			require.NoError(t, s.StartForwardBackward(context.Background(), MicroBatch{b, full.pixels[i*pixels : (i+1)*pixels], 1 / float64(targets), i == 0, i == len(batches)-1}, &sums[i]))
		}
		grads := map[string][]float32{}
		for _, p := range m.Params.All() { // the read waits for the device
			grads[p.Name] = require.Value(m.Params.Read(dev, m.Params.Grads, p))(t)
		}
		loss := 0.0
		for _, sum := range sums {
			loss += float64(sum[0]) / float64(targets)
		}
		return loss, grads
	}
	wantLoss, want := run(2, []*packing.Batch{full.batch})
	gotLoss, got := run(1, []*packing.Batch{rowOf(full.batch, 0), rowOf(full.batch, 1)})
	if math.Abs(gotLoss-wantLoss) > 1e-6*wantLoss {
		t.Errorf("loss %v, want %v", gotLoss, wantLoss)
	}
	for name, w := range want {
		var difference, norm float64
		for i := range w {
			difference += math.Pow(float64(got[name][i]-w[i]), 2)
			norm += math.Pow(float64(w[i]), 2)
		}
		// Another summation order: some roundings of 2^-24.
		if norm == 0 || math.Sqrt(difference/norm) > 1e-5 {
			t.Errorf("the gradient of %s differs by %.2g of its norm %.2g", name, math.Sqrt(difference/norm), math.Sqrt(norm))
		}
	}
}

// rowOf returns one row of a batch as a batch; all rows have the same number of images.
func rowOf(b *packing.Batch, row int) *packing.Batch {
	part := func(x []int32, width int) []int32 { return x[row*b.T*width : (row+1)*b.T*width] }
	out := &packing.Batch{
		Shape: packing.Shape{Rows: 1, T: b.T, Patches: b.Patches}, IDs: part(b.IDs, 1), Positions: part(b.Positions, 1),
		Segments: part(b.Segments, 1), Intervals: part(b.Intervals, 4), Targets: part(b.Targets, 1),
	}
	for _, slot := range part(b.ImageSlots, 1) {
		if slot >= 0 {
			slot %= int32(b.Patches)
		}
		out.ImageSlots = append(out.ImageSlots, slot)
	}
	return out
}

// TestRecompute: activation checkpointing changes no bit of the losses and weights on any device.
func TestRecompute(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for _, dev := range devices.Open(t) {
		for _, kind := range []string{"llama", "qwen3", "experts"} {
			t.Run(dev.Info().Device+"/"+kind, func(t *testing.T) {
				r := testRecipe(t, 2)
				r.Accumulate, r.FreezeDecoderSteps, r.SeqLen, r.ImageExperts = 2, 1, 200, kind == "experts"
				if kind == "qwen3" {
					r.Text = vlmtest.Qwen3(*r.Text)
				}
				var weights [2]string
				var runs [2][]float64
				for i, recompute := range []string{"off", "on"} {
					r.Recompute = recompute
					out := filepath.Join(t.TempDir(), "run")
					_, err := trainOn(t, dev, r, files, out, false, Observer{})
					require.NoError(t, err)
					runs[i] = losses(t, out)
					data, err := os.ReadFile(filepath.Join(out, pretrained.WeightsFile))
					require.NoError(t, err)
					weights[i] = string(data)
				}
				same(t, "with activations kept and recomputed", runs[0], runs[1])
				if weights[0] != weights[1] {
					t.Error("the weights differ")
				}
			})
		}
	}
}

// limitedMemory is a device that reports less memory than it has.
type limitedMemory struct {
	engine.Device
	bytes int64
}

func (s limitedMemory) Info() engine.Info {
	i := s.Device.Info()
	i.Memory = s.bytes
	return i
}

// TestRecomputeAuto: --recompute auto uses activation checkpointing if the activations do not fit.
func TestRecomputeAuto(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 20)}, testRecipe(t, 2)
	r.Text.NumHiddenLayers = 8
	kept, err := Estimate(r, false)
	require.NoError(t, err)
	again, err := Estimate(r, true)
	require.NoError(t, err)
	for _, c := range []struct {
		name      string
		bytes     int64
		recompute string
		want      MemoryBytes
		note      string // "" = none
	}{
		{"enough", 2 * kept.MemoryBytes.Total, "auto", kept.MemoryBytes, ""},
		{"unknown", 0, "auto", kept.MemoryBytes, "does not report its memory"},
		{"tight", kept.MemoryBytes.Total, "auto", again.MemoryBytes, "recomputing activations"},
		{"tight, off", kept.MemoryBytes.Total, "off", kept.MemoryBytes, ""},
		{"enough, on", 2 * kept.MemoryBytes.Total, "on", again.MemoryBytes, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.Recompute = c.recompute
			dev, notes := cpu.Open(0), ""
			_, err := trainOn(t, limitedMemory{dev, c.bytes}, r, files, filepath.Join(t.TempDir(), "run"), false, Observer{
				Note: func(s string) {
					if strings.Contains(s, "activations") {
						notes += s
					}
				},
			})
			require.NoError(t, err)
			_, peak := dev.MemoryInUse()
			if ratio := float64(peak) / float64(c.want.Total); ratio > 1.1 || ratio < 0.9 {
				t.Errorf("the run took %d bytes, want about %d", peak, c.want.Total)
			}
			if !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes are %q, want %q", notes, c.note)
			}
		})
	}
}

// TestRecomputeEstimate checks the memory and time estimates of activation checkpointing.
func TestRecomputeEstimate(t *testing.T) {
	r := testRecipe(t, 1)
	r.Text.NumHiddenLayers = 8
	kept, err := Estimate(r, false)
	require.NoError(t, err)
	again, err := Estimate(r, true)
	require.NoError(t, err)
	if a, b := kept.MemoryBytes.Activations, again.MemoryBytes.Activations; b > a/2 {
		t.Errorf("the activations of 8 layers take %d bytes kept and %d recomputed, want less than half", a, b)
	}
	// The decoder's forward pass, a third of the work, is done twice.
	if ratio := again.FlopsPerStep / kept.FlopsPerStep; ratio < 1.1 || ratio > 4.0/3 {
		t.Errorf("recomputing multiplies the work by %.2f", ratio)
	}
}
