package cpu

import (
	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// fewRows is the largest number of rows of a for which reading b directly is faster than
// packing it: a decoding step has one row, and is bound by memory bandwidth.
const fewRows = 8

// dotsWork is the number of multiply-adds of such a matmul worth a call: what memory
// delivers in some 5 µs.
const dotsWork = 1 << 14

func dotsFit(g shaders.Gemm) bool { return g.M <= fewRows && g.TransB && !g.TransA }

// dotsMatmul multiplies a few rows by the rows of b.
func dotsMatmul(name string, t simd.Tile) matmul {
	return matmul{name: name, gemm: func(g shaders.Gemm) { dots(t, g) }, rows: fewRows, cols: 16, exact: true, minWork: dotsWork}
}

// dots computes op(a)·bᵀ, with the most rows of a at a time that a kernel supports. With more rows, all
// of them use a block of b, small enough to stay in the first-level cache, before the
// next block.
func dots(t simd.Tile, g shaders.Gemm) {
	block := g.N
	if g.M > len(t.Dots) {
		block = max(1, 4096/g.K)
	}
	for j := 0; j < g.N; j += block {
		n := min(block, g.N-j)
		for i := 0; i < g.M; i += len(t.Dots) {
			kernel := t.Dots[min(len(t.Dots), g.M-i)-1]
			kernel(g.K, &g.A[i*g.LDA], g.LDA, &g.B[j*g.LDB], g.LDB, n, &g.C[i*g.LDC+j], g.LDC, g.Alpha, g.Beta)
		}
	}
}
