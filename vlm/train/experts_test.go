package train

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// expertsOf returns the weights of image experts that differ from the decoder's, and how many there are.
func expertsOf(weights map[string][]float32) (differ []string, all int) {
	for name, values := range weights {
		part, ok := strings.CutPrefix(name, vlm.ExpertPrefix)
		if !ok {
			continue
		}
		all++
		if !slices.Equal(values, weights[vlm.DecoderPrefix+"model."+part]) {
			differ = append(differ, name)
		}
	}
	return differ, all
}

// TestImageExperts: experts begin as copies of the decoder; with a frozen decoder they are trained, and
// the decoder's weights stay as they are to the bit.
func TestImageExperts(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for name, frozen := range map[string]bool{"lr 0": false, "frozen decoder": true} {
		t.Run(name, func(t *testing.T) {
			r := testRecipe(t, 3)
			r.ImageExperts, r.Optimizer = true, OptimizerAdamW
			if frozen {
				r.FreezeDecoderSteps = r.Steps
			} else {
				r.LR = 0
			}
			out := filepath.Join(t.TempDir(), "run")
			_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
			require.NoError(t, err)
			differ, all := expertsOf(savedWeights(t, out))
			// No answer reads the last layer's norms and matrices after attention, and its queries.
			last := 6
			if want := all - last; all != 9*r.Text.NumHiddenLayers || frozen && len(differ) < want || !frozen && len(differ) > 0 {
				t.Errorf("%d of %d weights differ from the decoder's: %v", len(differ), all, differ)
			}
			if frozen && changed(t, r, out)[vlm.GroupDecoder] {
				t.Error("the frozen decoder has changed")
			}
			model, err := pretrained.Load(out, cpu.Open(0))
			require.NoError(t, err)
			defer model.Close()
			if !model.Config.ImageExperts {
				t.Error("the saved model has no experts")
			}
		})
	}
}

// TestExpertsEstimate: experts do the work of a decoder's layers, with weights of their own.
func TestExpertsEstimate(t *testing.T) {
	r, err := Preset("smollm2-135m-small")
	require.NoError(t, err)
	plain, err := Estimate(r, false)
	require.NoError(t, err)
	r.ImageExperts = true
	experts, err := Estimate(r, false)
	require.NoError(t, err)
	const layers = 30 * (576*576*2 + 576*192*2 + 3*576*1536 + 2*576)
	if got := experts.Parameters - plain.Parameters; got != layers {
		t.Errorf("experts have %d parameters, want %d", got, layers)
	}
	// The optimizer's work is larger by some FLOPs a parameter.
	if ratio := experts.FlopsPerStep / plain.FlopsPerStep; ratio < 1 || ratio > 1.01 {
		t.Errorf("a step with experts is %.4f times the work", ratio)
	}
	if got := experts.MemoryBytes.Gradients - plain.MemoryBytes.Gradients; got < 4*layers || got > 5*layers {
		t.Errorf("their gradients take %d bytes", got)
	}
}

// TestEncoderEstimate: an encoder's layers are counted.
func TestEncoderEstimate(t *testing.T) {
	r, err := Preset("shapes")
	require.NoError(t, err)
	r.Optimizer = OptimizerAdamW
	flops := func(layers int) float64 {
		r.Vision.Embedder, r.Vision.EncoderLayers, r.Vision.EncoderHeads = vlm.EmbedderEncoder, layers, 3
		e, err := Estimate(r, false)
		require.NoError(t, err)
		return e.FlopsPerStep
	}
	// Forward and backward of 12·96² matrix elements for each of some 133 patches, and attention. GELU is
	// computed for all 704 slots.
	matrices := 6 * 12 * 96 * 96 * 704.0 / 338 * 64
	if layer := (flops(3) - flops(1)) / 2; layer < matrices || layer > 1.4*matrices {
		t.Errorf("a layer takes %.3g FLOPs, its matrices %.3g", layer, matrices)
	}
}
