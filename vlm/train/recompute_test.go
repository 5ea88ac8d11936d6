package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestRecompute trains with activations kept and recomputed: losses and weights
// have the same bits on every device, and the activations take less memory.
func TestRecompute(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	for _, dev := range devices.Open(t) {
		for _, kind := range []string{"llama", "qwen3"} {
			t.Run(dev.Info().Device+"/"+kind, func(t *testing.T) {
				r := testRecipe(t, 2)
				r.Accumulate, r.FreezeDecoderSteps, r.SeqLen = 2, 1, 200
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

// small is a device that says it has less memory than it has.
type small struct {
	engine.Device
	bytes int64
}

func (s small) Info() engine.Info {
	i := s.Device.Info()
	i.Memory = s.bytes
	return i
}

// TestRecomputeWhereMemoryAsksForIt leaves the choice to the run, on devices with
// room for all activations and without.
func TestRecomputeWhereMemoryAsksForIt(t *testing.T) {
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
		says      string // "" for nothing
	}{
		{"room", 2 * kept.MemoryBytes.Total, "auto", kept.MemoryBytes, ""},
		{"unknown", 0, "auto", kept.MemoryBytes, "does not tell how much memory it has"},
		{"tight", kept.MemoryBytes.Total, "auto", again.MemoryBytes, "recomputing activations"},
		{"tight, off", kept.MemoryBytes.Total, "off", kept.MemoryBytes, ""},
		{"room, on", 2 * kept.MemoryBytes.Total, "on", again.MemoryBytes, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.Recompute = c.recompute
			dev, said := cpu.Open(0), ""
			_, err := trainOn(t, small{dev, c.bytes}, r, files, filepath.Join(t.TempDir(), "run"), false, Observer{
				Note: func(s string) {
					if strings.Contains(s, "activations") {
						said += s
					}
				},
			})
			require.NoError(t, err)
			_, peak := dev.MemoryInUse()
			if ratio := float64(peak) / float64(c.want.Total); ratio > 1.1 || ratio < 0.9 {
				t.Errorf("the run took %d bytes, want some %d", peak, c.want.Total)
			}
			if !strings.Contains(said, c.says) || c.says == "" && said != "" {
				t.Errorf("said %q, want %q", said, c.says)
			}
		})
	}
}

// TestRecomputeEstimate checks what recomputing saves and costs.
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
	// The decoder's forward pass, a third of forward and backward, comes twice.
	if ratio := again.FlopsPerStep / kept.FlopsPerStep; ratio < 1.1 || ratio > 4.0/3 {
		t.Errorf("recomputing multiplies the work by %.2f", ratio)
	}
}
