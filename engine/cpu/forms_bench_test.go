package cpu

import (
	"fmt"
	"testing"

	"patchwork/shaders/quant"
)

// BenchmarkForms measures every form of matmul that this processor supports, and that in plain Go, on one
// thread: 512³ in float32, and one row by 2048 × 2048 weights in float32 and in blocks. docs/benchmarks.md
// has its results as WebAssembly beside those of the same machine without.
func BenchmarkForms(b *testing.B) {
	const n = 2048
	for _, p := range allMatmuls() {
		h := newHost(1, p)
		whole, row := randomGemm(512, 512, 512, false, false, 0), randomGemm(1, n, n, false, true, 0)
		whole.Alpha, row.Alpha = 1, 1
		b.Run(fmt.Sprintf("%.8s/512x512x512", p.name), func(b *testing.B) {
			benchmarkQuant(b, func() { h.Gemm(whole) }, 512, 512, 512, 0)
		})
		b.Run(fmt.Sprintf("%.8s/row/f32", p.name), func(b *testing.B) {
			benchmarkQuant(b, func() { h.Gemm(row) }, 1, n, n, 4*n*n)
		})
		for _, f := range []quant.Format{quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q4_K, quant.Q6_K} {
			g := randomQuant(f, 1, n, n, true)
			b.Run(fmt.Sprintf("%.8s/row/%v", p.name, f), func(b *testing.B) {
				benchmarkQuant(b, func() { h.GemmQuant(g) }, 1, n, n, len(g.B))
			})
		}
	}
}
