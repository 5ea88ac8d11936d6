package simd

import "testing"

// BenchmarkTileProduct measures products whose operands stay in the caches.
func BenchmarkTileProduct(b *testing.B) {
	if !HasTiles() {
		b.Skip("the processor has no AMX with bf16")
	}
	const rows, steps = 384, 16
	k := steps * TileStep
	a, pairs, c := make([]uint16, rows*k), make([]uint32, k/2*TileGroup), make([]float32, rows*TileGroup)
	p := TileProduct{
		Rows: rows, Cols: TileGroup, Steps: steps, A: &a[0], RowStride: k, StepStride: TileStep, GroupStride: TileRows * k,
		B: &pairs[0], C: &c[0], LDC: TileGroup, Add: true,
	}
	for b.Loop() {
		p.Run()
	}
	b.ReportMetric(2*float64(rows*TileGroup*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
