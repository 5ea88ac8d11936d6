package vlm

import (
	"context"
	"testing"

	"patchwork/engine/cpu"
)

func BenchmarkShapes(b *testing.B) {
	r, err := Preset("shapes")
	must(b, err)
	bench, err := NewBench(cpu.Open(0), r, 6, 208)
	must(b, err)
	for b.Loop() {
		_, _, err := bench.Step(context.Background())
		must(b, err)
	}
	b.ReportMetric(float64(bench.Tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
}
