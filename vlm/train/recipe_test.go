package train

import (
	"testing"

	"patchwork/internal/require"
)

// testRecipe is the shapes preset cut down to seconds.
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
