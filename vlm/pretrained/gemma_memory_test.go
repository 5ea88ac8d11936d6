package pretrained_test

import (
	"testing"

	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// TestGemmaMemory: Gemma 4 12B in q4_k answers with 8192 tokens of context in less than 9.5 GB, and has
// some 12 billion parameters.
func TestGemmaMemory(t *testing.T) {
	text := require.Value(vlm.ParseText([]byte(vlmtest.Gemma12B)))(t)
	m, err := vlm.NewModel(vlm.Config{ModelType: vlm.ModelType, Text: text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: vlm.FormatVersion}, vlm.Init{})
	require.NoError(t, err)
	if n := m.Params.Count(); n < 11.5e9 || n > 12.5e9 {
		t.Errorf("%d parameters, want 12 billion", n)
	}
	pretrained.LoadOptions{Type: shaders.BF16, Weights: "q4_k", Cache: vlm.CacheAuto}.Store(m)
	rest, err := generate.PlanMemory(m, 8192-256, 256)
	require.NoError(t, err)
	t.Logf("weights %d, the rest %+v", m.WeightBytes(), rest)
	if total := m.WeightBytes() + rest.Total(); total > 95e8 {
		t.Errorf("%d bytes of weights and %+v of the rest, want at most 9.5e9 together", m.WeightBytes(), rest)
	}
}
