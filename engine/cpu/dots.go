package cpu

import (
	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// fewRows is up to how many rows of a reading b as it lies is faster than packing
// it: a step of generation has one row, and is as fast as memory.
const fewRows = 8

// dotsWork is how many multiply-adds of such a product are worth a call: what
// memory brings in some 5 µs.
const dotsWork = 1 << 14

func dotsFit(g shaders.Gemm) bool { return g.M <= fewRows && g.TransB && !g.TransA }

// dotsMatmul multiplies a few rows by the rows of b.
func dotsMatmul(name string, t simd.Tile) matmul {
	return matmul{name: name, gemm: func(g shaders.Gemm) { dots(t, g) }, rows: fewRows, cols: 16, exact: true, minWork: dotsWork}
}

// dots is op(a)·bᵀ by as many rows of a at a time as a kernel takes. Where that is
// not all of them, a block of b goes by each before the next block comes, small
// enough to stay in the first-level cache.
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
