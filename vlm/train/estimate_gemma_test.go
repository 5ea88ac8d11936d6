package train

import (
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
)

// TestEstimateGemma: adapters of Gemma 4 12B in q4_k are trained in 24 GB, with activation
// checkpointing; all of its weights need master weights, gradients and two moments of four bytes each.
func TestEstimateGemma(t *testing.T) {
	r := require.Value(Preset("smollm2-135m"))(t)
	text := require.Value(vlm.ParseText([]byte(vlmtest.Gemma12B)))(t)
	r.Text, r.DType, r.BatchSize, r.Accumulate = &text, "bf16", 1, 1
	full := require.Value(Estimate(r, true))(t)
	if least := 16 * full.Parameters; full.MemoryBytes.Total < least {
		t.Errorf("all weights take %d bytes, want at least %d", full.MemoryBytes.Total, least)
	}
	r.Adapter, r.BaseWeights = &vlm.Adapter{Rank: 16, Alpha: 32, Targets: vlm.AdapterTargets}, "q4_k"
	adapter := require.Value(Estimate(r, true))(t)
	t.Logf("adapters %+v, all %+v", adapter.MemoryBytes, full.MemoryBytes)
	if adapter.MemoryBytes.Total > 24e9 {
		t.Errorf("adapters take %d bytes, want at most 24e9", adapter.MemoryBytes.Total)
	}
}
