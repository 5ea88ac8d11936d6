package train

import (
	"testing"

	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// TestEstimatedWork compares the recorded FLOPs of the presets with the textbook's count: six
// operations per weight and token, and the matmuls of attention.
func TestEstimatedWork(t *testing.T) {
	for _, name := range []string{"smollm2-135m", "smollm2-360m", "qwen3-1.7b"} {
		for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage, packing.Causal} {
			r, err := Preset(name)
			require.NoError(t, err)
			r.Attention = attention
			e, err := Estimate(r, false)
			require.NoError(t, err)
			c, v := r.Text, r.Vision
			heads, keys := float64(c.NumAttentionHeads*c.HeadDim), float64(c.NumKeyValueHeads*c.HeadDim)
			d, inner, layers := float64(c.HiddenSize), float64(c.IntermediateSize), float64(c.NumHiddenLayers)
			layer := d*(2*heads+2*keys) + 3*d*inner
			text, sample := float64(e.SampleTokens-v.Patches()), float64(e.SampleTokens)
			samples := float64(e.TokensPerStep) / sample
			matrices := layers*layer*sample + d*float64(c.VocabSize)*text + (float64(v.Features())+d)*d*float64(v.Patches())
			// Two matmuls forward and five backward, for every visible query-key pair.
			want := samples*6*matrices + 14*heads*layers*visiblePairs(attention, int(sample), v.Patches(), r.SeqLen)*float64(e.TokensPerStep/r.SeqLen)
			// Norms, activations and the optimizer add to it; patches need no gradient.
			if ratio := e.FlopsPerStep / want; ratio < 0.995 || ratio > 1.03 {
				t.Errorf("%s, %s: %.4g FLOP recorded, %.4g expected: ratio %.3f", name, attention, e.FlopsPerStep, want, ratio)
			}
		}
	}
}

// visiblePairs counts the visible query-key pairs of a row of samples, the last one in part.
func visiblePairs(attention packing.Attention, sample, patches, row int) float64 {
	pairs := 0
	if attention == packing.Causal {
		for t := range row {
			pairs += t + 1
		}
		return float64(pairs)
	}
	for t := range sample {
		if attention == packing.DocumentBidirectionalImage && t < patches {
			pairs += patches
		} else {
			pairs += t + 1
		}
	}
	return float64(pairs) * float64(row) / float64(sample)
}

// TestEstimateIn16Bits: weights have an additional copy of half their size, and activations take
// half the memory except for the residual stream, statistics and logits.
func TestEstimateIn16Bits(t *testing.T) {
	for _, dtype := range []string{"bf16", "f16"} {
		r, err := Preset("smollm2-135m")
		require.NoError(t, err)
		full, err := Estimate(r, false)
		require.NoError(t, err)
		r.DType = dtype
		half, err := Estimate(r, false)
		require.NoError(t, err)
		f, h := full.MemoryBytes, half.MemoryBytes
		if h.Weights != f.Weights+f.Weights/2 || h.Gradients != f.Gradients || h.Optimizer != f.Optimizer {
			t.Errorf("%s: %+v, in f32 %+v", dtype, h, f)
		}
		if ratio := float64(h.Activations) / float64(f.Activations); ratio < 0.5 || ratio > 0.6 {
			t.Errorf("%s: activations take %.2f of the memory in f32", dtype, ratio)
		}
		if half.FlopsPerStep != full.FlopsPerStep {
			t.Errorf("%s: %g FLOP, in f32 %g", dtype, half.FlopsPerStep, full.FlopsPerStep)
		}
	}
}

// TestEstimatedSmallCards: Qwen3-1.7B trains in 24 GB with moments of 8 bits, and an adapter of it on a
// base of 4 bits in 8 GB, both with activations recomputed and rows of 2048.
func TestEstimatedSmallCards(t *testing.T) {
	for _, c := range []struct {
		name      string
		optimizer string
		adapter   *vlm.Adapter
		rows      int
		below     int64
	}{
		{"all weights", OptimizerAdamW8Bit, nil, 4, 24e9},
		{"an adapter", OptimizerAdamW, &vlm.Adapter{Rank: 16, Alpha: 32, Targets: vlm.AdapterTargets}, 1, 8e9},
	} {
		r, err := Preset("qwen3-1.7b")
		require.NoError(t, err)
		r.DType, r.SeqLen, r.BatchSize, r.Optimizer = "bf16", 2048, c.rows, c.optimizer
		if r.Adapter = c.adapter; r.Adapter != nil {
			r.BaseWeights = "q4_k"
		}
		e, err := Estimate(r, true)
		require.NoError(t, err)
		if m := e.MemoryBytes; m.Total > c.below || m.Optimizer*3 > m.Gradients*2 && c.adapter == nil {
			t.Errorf("%s: training takes %+v, want at most %d bytes", c.name, m, c.below)
		}
	}
}

// TestBindings: no dispatch of training SmolLM2-135M with rows of 1024 tokens binds more than 128
// MiB, the limit of software devices and WebGPU.
func TestBindings(t *testing.T) {
	r, err := Preset("smollm2-135m")
	require.NoError(t, err)
	m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
	require.NoError(t, err)
	for _, recompute := range []bool{false, true} {
		s := TrainStep{model: m, in: m.NewInputs(1, 1024, 4, 1024), optimizer: nn.AdamW{MaxNorm: 1}, Recompute: recompute}
		for _, key := range []string{programFirst, programFurther, programUpdate, programEvaluate} {
			plan, _, err := s.plan(key)
			require.NoError(t, err)
			for _, d := range plan.Within(128 << 20).Dispatches {
				for i, v := range d.Views {
					if v.Bytes > 128<<20 {
						t.Errorf("%s: %s %s binds %d bytes as %s", key, d.Label, d.Kernel.Name, v.Bytes, d.Kernel.Bindings[i].Name)
					}
				}
			}
		}
	}
}
