package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// LoRA is a low-rank adapter of a Linear layer (Hu et al., "LoRA", 2021): it adds
// Scale·(x·aᵀ)·bᵀ to the layer's output.
type LoRA struct {
	A     *Param // [R,I]
	B     *Param // [O,R], zero at first
	Scale float32
}

// LoRA declares the adapter of a Linear layer of that name, from in to out features.
func (d Declarer) LoRA(name string, in, out, rank int, scale float32) *LoRA {
	// The variance of PEFT's initial distribution, which is uniform up to 1/√in.
	return &LoRA{
		A:     d.Matrix(name+".lora_A.weight", rank, in, true, Init{Std: FanIn(3 * in).Std}),
		B:     d.Matrix(name+".lora_B.weight", out, rank, true, Init{}),
		Scale: scale,
	}
}

// linearLoRA computes y = x·wᵀ + scale·(x·aᵀ)·bᵀ + bias + residual: x [...,I], w [O,I],
// a [R,I], b [O,R], y [...,O]; bias and residual may be nil.
func (g *Graph) linearLoRA(x, w, bias, residual *Tensor, l *LoRA) *Tensor {
	a, b := g.Param(l.A), g.Param(l.B)
	out, in, rank := w.Shape[0], w.Shape[1], a.Shape[0]
	check(x.Cols() == in && a.Cols() == in && b.Size() == out*rank, "linear with an adapter", "x [...,I], w [O,I], a [R,I] and b [O,R]", x, w, a, b)
	stored := g.Type
	if in%2 != 0 || rank%2 != 0 {
		stored = shaders.F32
	}
	shape := append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], out)
	y := g.newOf(stored, w.node.name, shape)
	if residual != nil { // the residual stream has 32 bits
		y = g.NewFloat32(w.node.name, shape...)
	}
	y.SameRows(x)
	y.node.gradFeedsMatmul = stored == g.Type
	check(residual == nil || residual.Size() == y.Size(), "linear with an adapter", "a residual of y's shape", y, residual)
	rows, n := x.rows(), x.Size()/in
	input, weight := g.castTo(stored, x.View(), x.Size()), g.weightIn(stored, w)
	down, up := g.floatWeight(stored, a), g.floatWeight(stored, b)

	h := g.temporary(stored, l.A.Name, n*rank) // x·aᵀ
	g.matmul(matmulShape{batch: 1, m: rows, n: rank, k: shaders.N(in)}, operand{view: input}, operand{view: down, trans: true}, h)
	sum := g.temporary(shaders.F32, l.B.Name, n*out) // scale·h·bᵀ + residual
	g.matmulScaled(matmulShape{batch: 1, m: rows, n: out, k: shaders.N(rank)}, l.Scale, operand{view: h}, operand{view: up, trans: true}, sum, engine.View{}, viewOf(residual))
	g.matmulWeight(matmulShape{batch: 1, m: rows, n: out, k: shaders.N(in)}, input, weight, true, y.View(), viewOf(bias), sum)

	g.onBackward(y, func(fullDy engine.View) {
		dy := fullDy
		if stored == g.Type {
			dy = g.castGradient(y, fullDy)
		}
		if db, add, ok := g.gradient(b); ok { // db = scale·dyᵀ·h
			g.matmulScaled(matmulShape{batch: 1, m: shaders.N(out), n: rank, k: rows, add: add}, l.Scale, operand{view: dy, trans: true}, operand{view: h}, db, engine.View{}, engine.View{})
		}
		dh := g.temporary(stored, "grad "+l.A.Name, n*rank) // scale·dy·b
		g.matmulScaled(matmulShape{batch: 1, m: rows, n: rank, k: shaders.N(out)}, l.Scale, operand{view: dy}, operand{view: up}, dh, engine.View{}, engine.View{})
		if da, add, ok := g.gradient(a); ok { // da = dhᵀ·x
			g.matmul(matmulShape{batch: 1, m: shaders.N(rank), n: in, k: rows, add: add}, operand{view: dh, trans: true}, operand{view: input}, da)
		}
		if dx, add, ok := g.gradient(x); ok { // dx = dy·w + dh·a
			p := matmulShape{batch: 1, m: rows, n: in, k: shaders.N(out), add: add}
			g.matmulWeight(p, dy, weight, false, dx, engine.View{}, engine.View{})
			g.matmul(matmulShape{batch: 1, m: rows, n: in, k: shaders.N(rank), add: true}, operand{view: dh}, operand{view: down}, dx)
		}
		if dw, add, ok := g.gradient(w); ok { // dw = dyᵀ·x
			g.matmul(matmulShape{batch: 1, m: shaders.N(out), n: in, k: rows, add: add}, operand{view: dy, trans: true}, operand{view: input}, dw)
		}
		if bias != nil {
			g.biasGradient(bias, fullDy, rows)
		}
		if residual != nil {
			g.passGradient(residual, fullDy)
		}
	})
	return y
}

// Delta returns rows of Scale·b·a, [rows,I], which merging adds to the layer's weight. a and
// b are the values of the adapter's parameters.
func (l *LoRA) Delta(a, b []float32, row, rows int) []float32 {
	rank, in := l.A.Shape[0], l.A.Shape[1]
	out := make([]float32, rows*in)
	for i := range rows {
		for r, factor := range b[(row+i)*rank:][:rank] {
			factor *= l.Scale
			for j, v := range a[r*in:][:in] {
				out[i*in+j] += factor * v
			}
		}
	}
	return out
}
