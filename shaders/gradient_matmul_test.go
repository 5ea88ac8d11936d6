package shaders

import (
	"fmt"

	"patchwork/shaders/quant"
)

// matmulPairs are the linear layer and the matmul of two matrices, or of a batch, with
// all transposes.
func matmulPairs() []gradientPair {
	pairs := []gradientPair{linearPair(), quantisedPair()}
	for _, batch := range []uint32{1, 2} {
		for trans := range uint32(4) {
			pairs = append(pairs, matmulPair(batch, trans/2, trans%2))
		}
	}
	return pairs
}

// matmulPair is c = 0.5·op(a)·op(b), op(a) [M,K], op(b) [K,N], with
//
//	d op(a) = 0.5·dc·op(b)ᵀ,  d op(b) = 0.5·op(a)ᵀ·dc
//
// each laid out as its matrix is.
func matmulPair(batch, transA, transB uint32) gradientPair {
	const m, k, n = 3, 4, 5
	whole := func(rows, terms, cols, transA, transB, add uint32) MatMulParams {
		p := matmulCase(MatMulParams{M: N(int(rows)), K: N(int(terms)), N: cols, TransA: transA, TransB: transB, Batch: batch, Alpha: 0.5}).Params.(MatMulParams)
		p.Beta = float32(add)
		return p
	}
	return gradientPair{
		name:   fmt.Sprintf("matmul of %d, a transposed: %d, b transposed: %d", batch, transA, transB),
		floats: map[string]int{"a": int(batch * m * k), "b": int(batch * k * n)}, outputs: map[string]int{"c": int(batch * m * n)},
		wanted:  []string{"a", "b"},
		forward: func(c *calls) { c.call(MatMul, whole(m, k, n, transA, transB, 0), "bias", "", "residual", "") },
		backward: func(c *calls, add uint32) {
			matmul := func(p MatMulParams, a, b, to string) {
				c.call(MatMul, p, "a", a, "b", b, "bias", "", "residual", "", "c", to)
			}
			if transA == 0 {
				matmul(whole(m, n, k, 0, 1-transB, add), "dc", "b", "da")
			} else {
				matmul(whole(k, n, m, transB, 1, add), "b", "dc", "da")
			}
			if transB == 0 {
				matmul(whole(k, m, n, 1-transA, 0, add), "a", "dc", "db")
			} else {
				matmul(whole(n, m, k, 1, transA, add), "dc", "a", "db")
			}
		},
	}
}

// quantisedPair is c = a·bᵀ with quantised rows of b: da = dc·b.
func quantisedPair() gradientPair {
	const m, n, k = 3, 5, 32
	words := quantInput(quant.Q8_0, n*k)
	b := make([]int64, len(words.U))
	for i, w := range words.U {
		b[i] = int64(w)
	}
	call := func(c *calls, p MatMulQuantParams, a, to string) {
		p.M, p.Format, p.LDA, p.LDC = N(m), uint32(quant.Q8_0), p.K, p.N
		c.call(MatMulQuant, p, "a", a, "bias", "", "residual", "", "c", to)
	}
	return gradientPair{
		name: "matmul_quant", floats: map[string]int{"a": m * k}, ints: map[string][]int64{"b": b}, outputs: map[string]int{"c": m * n},
		wanted:  []string{"a"},
		forward: func(c *calls) { call(c, MatMulQuantParams{N: n, K: k, TransB: 1}, "a", "c") },
		backward: func(c *calls, add uint32) {
			call(c, MatMulQuantParams{N: k, K: n, Accumulate: add}, "dc", "da")
		},
	}
}

// linearPair is y = x·wᵀ + bias + residual.
func linearPair() gradientPair {
	const rows, in, out = 4, 3, 5
	matmul := func(m, k, n int, transA, transB, add uint32) MatMulParams {
		p := matmulCase(MatMulParams{M: N(m), K: N(k), N: uint32(n), TransA: transA, TransB: transB, Alpha: 1}).Params.(MatMulParams)
		p.Beta = float32(add)
		return p
	}
	return gradientPair{
		name: "linear", floats: map[string]int{"x": rows * in, "w": out * in, "bias": out, "residual": rows * out},
		outputs: map[string]int{"y": rows * out}, wanted: []string{"x", "w", "bias", "residual"},
		forward: func(c *calls) {
			p := matmul(rows, in, out, 0, 1, 0)
			p.Bias, p.Residual = 1, 1
			c.call(MatMul, p, "a", "x", "b", "w", "c", "y")
		},
		backward: func(c *calls, add uint32) {
			c.call(MatMul, matmul(out, rows, in, 1, 0, add), "a", "dy", "b", "x", "bias", "", "residual", "", "c", "dw")
			c.call(MatMul, matmul(rows, out, in, 0, 0, add), "a", "dy", "b", "w", "bias", "", "residual", "", "c", "dx")
			c.call(ColumnSum, ColumnSumParams{N(rows), out, add}, "x", "dy", "y", "dbias")
			c.pass("y", "residual", add)
		},
	}
}
