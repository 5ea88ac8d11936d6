package nn

import (
	"cmp"

	"patchwork/engine"
	"patchwork/shaders"
)

// MatMul computes op(a)·op(b) over the last two axes, with a batch where both
// have three: op(a) [M,K], op(b) [K,N].
func (g *Graph) MatMul(a, b *Tensor, transA, transB bool) *Tensor {
	batch, m, k := matrix(a, transA)
	batchB, kb, n := matrix(b, transB)
	check(len(a.Shape) == len(b.Shape) && batch == batchB && k == kb, "matmul", "[B,M,K] and [B,K,N]", a, b)
	shape := []int{m, n}
	if len(a.Shape) == 3 {
		shape = []int{batch, m, n}
	}
	y := g.New("matmul", shape...)
	p := matmulShape{batch: batch, m: shaders.N(m), n: n, k: shaders.N(k)}
	factorA, factorB := g.cast(a.View(), a.Size()), g.cast(b.View(), b.Size())
	g.matmul(p, operand{view: factorA, trans: transA}, operand{view: factorB, trans: transB}, y.View())
	g.onBackward(y, func(dy engine.View) {
		if da, add, ok := g.gradient(a); ok { // dop(a) = dy·op(b)ᵀ
			q := matmulShape{batch: batch, m: shaders.N(m), n: k, k: shaders.N(n), add: add}
			g.matmulInto(q, operand{view: dy}, operand{view: factorB, trans: !transB}, da, transA)
		}
		if db, add, ok := g.gradient(b); ok { // dop(b) = op(a)ᵀ·dy
			q := matmulShape{batch: batch, m: shaders.N(k), n: n, k: shaders.N(m), add: add}
			g.matmulInto(q, operand{view: factorA, trans: !transA}, operand{view: dy}, db, transB)
		}
	})
	return y
}

// matrix returns the batch, rows and columns of op(t).
func matrix(t *Tensor, trans bool) (batch, rows, cols int) {
	n := len(t.Shape)
	check(n == 2 || n == 3, "matmul", "two or three axes", t)
	batch, rows, cols = 1, t.Shape[n-2], t.Shape[n-1]
	if n == 3 {
		batch = t.Shape[0]
	}
	if trans {
		rows, cols = cols, rows
	}
	return batch, rows, cols
}

// matmulShape is the size of a matmul c [M,N] = op(a) [M,K]·op(b) [K,N].
type matmulShape struct {
	batch int
	m, k  shaders.Count
	n     int
	add   bool // to c's values
	ld    int  // elements from one row of c to the next; 0 = n
}

// operand is a stored matrix and whether it is used transposed.
type operand struct {
	view  engine.View
	trans bool
	ld    int // elements from one row to the next; 0 = contiguous
}

func (g *Graph) matmul(p matmulShape, a, b operand, c engine.View) {
	g.matmulBias(p, a, b, c, engine.View{}, engine.View{})
}

// matmulInto writes the result to c, or its transpose when trans is set:
// (op(a)·op(b))ᵀ = op(b)ᵀ·op(a)ᵀ.
func (g *Graph) matmulInto(p matmulShape, a, b operand, c engine.View, trans bool) {
	if trans {
		a.trans, b.trans = !a.trans, !b.trans
		a, b = b, a
		p.m, p.n = shaders.N(p.n), int(p.m.Max)
	}
	g.matmul(p, a, b, c)
}

func (g *Graph) matmulBias(p matmulShape, a, b operand, c, bias, residual engine.View) {
	m, n, k := p.m.Max, uint32(p.n), p.k.Max
	params := shaders.MatMulParams{
		M: p.m, N: n, K: p.k, TransA: shaders.Flag(a.trans), TransB: shaders.Flag(b.trans),
		LDA: k, LDB: n, LDC: n, Batch: uint32(p.batch),
		Alpha: 1, Bias: shaders.Flag(bias.Buffer != nil), Residual: shaders.Flag(residual.Buffer != nil),
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
