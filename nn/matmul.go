package nn

import (
	"cmp"

	"patchwork/engine"
	"patchwork/shaders"
)

// matmulShape is the size of a matmul c [M,N] = op(a) [M,K]·op(b) [K,N].
type matmulShape struct {
	batch int
	m, k  shaders.Count
	n     int
	add   bool // to c's values
	ld    int  // elements from one row of c to the next; 0 = n
	// precise keeps the CPU from rounding a to 8 bits, in matmulWeight.
	precise bool
	aLD     int // elements from one row of a to the next, of matmulWeight; 0 = contiguous
}

// operand is a stored matrix and whether it is used transposed.
type operand struct {
	view  engine.View
	trans bool
	ld    int // elements from one row to the next; 0 = contiguous
}

// matmul records c = op(a)·op(b).
func (g *Graph) matmul(p matmulShape, a, b operand, c engine.View) {
	g.matmulBias(p, a, b, c, engine.View{}, engine.View{})
}

// matmulBias is matmul with an optional bias [N] and residual [M,N], which are added.
func (g *Graph) matmulBias(p matmulShape, a, b operand, c, bias, residual engine.View) {
	g.matmulScaled(p, 1, a, b, c, bias, residual)
}

// matmulAdd records c = alpha·op(a)·op(b) + residual; an absent residual is 0.
func (g *Graph) matmulAdd(p matmulShape, alpha float64, a, b operand, residual, c engine.View) {
	g.matmulScaled(p, float32(alpha), a, b, c, engine.View{}, residual)
}

func (g *Graph) matmulScaled(p matmulShape, alpha float32, a, b operand, c, bias, residual engine.View) {
	m, n, k := p.m.Max, uint32(p.n), p.k.Max
	params := shaders.MatMulParams{
		M: p.m, N: n, K: p.k, TransA: shaders.Flag(a.trans), TransB: shaders.Flag(b.trans),
		LDA: k, LDB: n, LDC: n, Batch: uint32(p.batch),
		Alpha: alpha, Bias: shaders.Flag(bias.Buffer != nil), Residual: shaders.Flag(residual.Buffer != nil),
	}
	if a.trans {
		params.LDA = m
	}
	if b.trans {
		params.LDB = k
	}
	if p.batch > 1 {
		params.StrideA, params.StrideB, params.StrideC = m*k, k*n, m*n
	}
	if p.add {
		params.Beta = 1
	}
	params.LDA, params.LDB = cmp.Or(uint32(a.ld), params.LDA), cmp.Or(uint32(b.ld), params.LDB)
	params.LDC = cmp.Or(uint32(p.ld), n)
	g.record(shaders.MatMul, params.Split(), a.view, b.view, bias, residual, c)
}
