package train

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestFault: a weight that is not a number is found where it first does harm, and
// the step that it spoils is left out.
func TestFault(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 1)
	for _, dev := range devices.Open(t) {
		for _, dtype := range []string{"f32", "bf16"} {
			t.Run(dev.Info().Device+"/"+dtype, func(t *testing.T) {
				r := r
				r.DType = dtype
				dir, out := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "run")
				_, err := trainOn(t, dev, r, files, dir, false, Observer{})
				require.NoError(t, err)
				poison(t, dir)
				var notes []string
				_, err = Run(t.Context(), Options{Recipe: r, Data: files, Out: out, Model: dir, Device: dev,
					Observe: Observer{Note: func(s string) { notes = append(notes, s) }}})
				var diverged *checkpoint.DivergedError
				if !errors.As(err, &diverged) || Finished(out) || len(checkpoint.Names(filepath.Join(out, "checkpoints"))) != 0 {
					t.Errorf("a run without a number ended with %v, or left a model", err)
				}
				all := strings.Join(notes, "\n")
				if !strings.Contains(all, "(layers.1, kernel matmul: ") || !strings.Contains(all, "the step is left out") {
					t.Errorf("the notes do not name the second layer's product:\n%s", all)
				}
			})
		}
	}
}

// poison puts a NaN into the second layer's up projection of a saved model.
func poison(t *testing.T, dir string) {
	t.Helper()
	m, l, err := pretrained.OpenFolder(dir)
	require.NoError(t, err)
	dev := devices.Open(t)[0]
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, pretrained.ReadWeights(m, dev, dir))
	p := m.Params.ByName("decoder.model.layers.1.mlp.up_proj.weight")
	values, err := m.Params.Read(dev, m.Params.Weights, p)
	require.NoError(t, err)
	values[7] = float32(math.NaN())
	require.NoError(t, m.Params.Write(dev, p, values))
	require.NoError(t, pretrained.Save(m, l, dir, pretrained.ValuesOn(m, dev)))
}
