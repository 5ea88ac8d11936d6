package vlm

import (
	"os"
	"path/filepath"
	"testing"

	"patchwork/engine/enginetest/devices"
)

// TestRecompute trains with activations kept and recomputed: losses and weights
// have the same bits on every device, and the activations take less memory.
func TestRecompute(t *testing.T) {
	files := []string{testData(t, 20)}
	for _, dev := range devices.Open(t) {
		for _, kind := range []string{"llama", "qwen3"} {
			t.Run(dev.Info().Device+"/"+kind, func(t *testing.T) {
				r := testRecipe(t, 4)
				r.Accumulate, r.FreezeDecoderSteps = 2, 2
				if kind == "qwen3" {
					r.Text = testQwen3(*r.Text)
				}
				var weights [2]string
				var runs [2][]float64
				for i, recompute := range []string{"off", "on"} {
					r.Recompute = recompute
					out := filepath.Join(t.TempDir(), "run")
					_, err := trainOn(t, dev, r, files, out, false, Observer{})
					must(t, err)
					runs[i] = losses(t, out)
					data, err := os.ReadFile(filepath.Join(out, weightsFile))
					must(t, err)
					weights[i] = string(data)
				}
				same(t, "with activations kept and recomputed", runs[0], runs[1])
				if weights[0] != weights[1] {
					t.Error("the weights differ")
				}
			})
		}
	}
	r := testRecipe(t, 1)
	r.Text.NumHiddenLayers = 8
	kept, err := Estimate(r, false)
	must(t, err)
	again, err := Estimate(r, true)
	must(t, err)
	if a, b := kept.MemoryBytes.Activations, again.MemoryBytes.Activations; b > a/2 {
		t.Errorf("the activations of 8 layers take %d bytes kept and %d recomputed, want less than half", a, b)
	}
	// The decoder's forward pass, a third of forward and backward, comes twice.
	if ratio := again.FlopsPerStep / kept.FlopsPerStep; ratio < 1.1 || ratio > 4.0/3 {
		t.Errorf("recomputing multiplies the work by %.2f", ratio)
	}
}
