package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Linear computes y = x·wᵀ + bias + residual for x [...,I], w [O,I], bias [O]
// and residual [...,O]; the last two may be nil.
func (g *Graph) Linear(x, w, bias, residual *Tensor) *Tensor {
	check(len(w.Shape) == 2 && x.Cols() == w.Shape[1], "linear", "x [...,I] and w [O,I]", x, w)
	out, in := w.Shape[0], w.Shape[1]
	check(bias == nil || bias.Size() == out, "linear", "bias [O]", w, bias)
	y := g.New(w.node.name, append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], out)...)
	if residual != nil { // the stream keeps its 32 bits
		y = g.NewFloat32(w.node.name, y.Shape...)
	}
	y.sameRows(x)
	y.node.factor = true
	check(residual == nil || residual.Size() == y.Size(), "linear", "residual as y", y, residual)
	rows := x.rows()
	p := product{batch: 1, m: rows, n: out, k: shaders.N(in)}
	factor, weight := g.narrow(x.View(), x.Size()), g.weight(w)
	g.productBias(p, operand{view: factor}, operand{view: weight, trans: true}, y.View(), viewOf(bias), viewOf(residual))
	g.onBackward(y, func(whole engine.View) {
		dy := g.narrowGradient(y, whole)
		if dw, add, ok := g.gradient(w); ok { // dw = dyᵀ·x
			g.product(product{batch: 1, m: shaders.N(out), n: in, k: rows, add: add}, operand{view: dy, trans: true}, operand{view: factor}, dw)
		}
		if dx, add, ok := g.gradient(x); ok { // dx = dy·w
			g.product(product{batch: 1, m: rows, n: in, k: shaders.N(out), add: add}, operand{view: dy}, operand{view: weight}, dx)
		}
		if bias != nil {
			g.biasGradient(bias, whole, rows)
		}
		if residual != nil {
			g.passGradient(residual, whole)
		}
	})
	return y
}

func (g *Graph) biasGradient(bias *Tensor, dy engine.View, rows shaders.Count) {
	if db, add, ok := g.gradient(bias); ok {
		g.record(shaders.ColumnSum, shaders.ColumnSumParams{Rows: rows, Cols: uint32(bias.Size()), Accumulate: shaders.Flag(add)}, dy, db)
	}
}

// weight is a parameter as products read it: rounded, where the recording's Type
// asks for that.
func (g *Graph) weight(w *Tensor) engine.View {
	if g.Type.Half() && w.node.half.Buffer != nil {
		return w.node.half
	}
	return g.narrow(w.View(), w.Size())
}

// Logits computes x·wᵀ in 32 bits for one row x [1,D] and w [V,D]: [1,V].
func (g *Graph) Logits(x, w *Tensor) *Tensor {
	check(len(w.Shape) == 2 && x.Size() == w.Shape[1], "logits", "x [1,D] and w [V,D]", x, w)
	vocabulary, d := w.Shape[0], w.Shape[1]
	ld := evenRow(vocabulary)
	y := g.NewFloat32("logits", 1, ld)
	p := product{batch: 1, m: shaders.N(1), n: vocabulary, k: shaders.N(d), ld: ld}
	g.product(p, operand{view: g.narrow(x.View(), x.Size())}, operand{view: g.weight(w), trans: true}, y.View())
	return &Tensor{Shape: []int{1, vocabulary}, node: y.node}
}

// evenRow is the length of a row of n elements that takes whole words in 16 bits.
func evenRow(n int) int { return (n + 1) / 2 * 2 }

// viewOf is the view of a tensor that may be nil.
func viewOf(t *Tensor) engine.View {
	if t == nil {
		return engine.View{}
	}
	return t.View()
}
