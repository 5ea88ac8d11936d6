package train

import (
	"context"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
)

func BenchmarkShapes(b *testing.B) {
	r, err := Preset("shapes")
	require.NoError(b, err)
	bench, err := NewBench(cpu.Open(0), r, 6, 208)
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := bench.Step(context.Background())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(bench.Tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// TestRecordedForDevice: what is measured as a training step is what a device runs: on
// the CPU layers one by one, elsewhere stacked.
func TestRecordedForDevice(t *testing.T) {
	for _, c := range []struct{ kind, runs, not string }{
		{"cpu", "swiglu", "swiglu_stacked"}, {"cpu", "rope", "rope_split"},
		{"discrete", "swiglu_stacked", "swiglu"}, {"software", "rope_split", "rope"},
	} {
		recorded, err := RecordWork(testRecipe(t, 1), "train", c.kind, 1, 96)
		require.NoError(t, err)
		has := map[string]bool{}
		for _, d := range recorded.Dispatches {
			has[d.Kernel.Name] = true
		}
		if !has[c.runs] || has[c.not] {
			t.Errorf("%s: %s runs: %v, %s runs: %v", c.kind, c.runs, has[c.runs], c.not, has[c.not])
		}
	}
}
