package cpu

import (
	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// fewRows is up to how many rows of a dot products are faster than packing the
// whole of b: a step of decoding has one row.
const fewRows = 3

func dotsFit(g shaders.Gemm) bool { return g.M <= fewRows && g.TransB && !g.TransA }

// dots is op(a)·bᵀ as dot products of their rows.
func dots(g shaders.Gemm) {
	for i := range g.M {
		a, c := g.A[i*g.LDA:][:g.K], g.C[i*g.LDC:][:g.N]
		for j := range c {
			y := g.Alpha * float32(simd.Dot(a, g.B[j*g.LDB:][:g.K]))
			if g.Beta != 0 {
				y += g.Beta * c[j]
			}
			c[j] = y
		}
	}
}
