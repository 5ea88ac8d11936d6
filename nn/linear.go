package nn

import (
	"cmp"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// Linear computes y = x·wᵀ + bias + residual for x [...,I], w [O,I], bias [O]
// and residual [...,O]; the last two may be nil. With an odd I it computes in 32 bits, since
// rows of 16 bits must consist of whole words.
func (g *Graph) Linear(x, w, bias, residual *Tensor) *Tensor {
	check(len(w.Shape) == 2 && x.Cols() == w.Shape[1], "linear", "x [...,I] and w [O,I]", x, w)
	out, in := w.Shape[0], w.Shape[1]
	check(bias == nil || bias.Size() == out, "linear", "bias [O]", w, bias)
	stored := g.Type
	if in%2 != 0 {
		stored = shaders.F32
	}
	y := g.newOf(stored, w.node.name, append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], out))
	if residual != nil { // the residual stream has 32 bits
		y = g.NewFloat32(w.node.name, y.Shape...)
	}
	y.SameRows(x)
	y.node.gradFeedsMatmul = stored == g.Type
	check(residual == nil || residual.Size() == y.Size(), "linear", "a residual of y's shape", y, residual)
	rows := x.rows()
	input, weight := g.castTo(stored, x.View(), x.Size()), g.weightIn(stored, w)
	g.matmulWeight(matmulShape{batch: 1, m: rows, n: out, k: shaders.N(in)}, input, weight, true, y.View(), viewOf(bias), viewOf(residual))
	g.onBackward(y, func(fullDy engine.View) {
		dy := fullDy
		if stored == g.Type {
			dy = g.castGradient(y, fullDy)
		}
		if dw, add, ok := g.gradient(w); ok { // dw = dyᵀ·x
			g.matmul(matmulShape{batch: 1, m: shaders.N(out), n: in, k: rows, add: add}, operand{view: dy, trans: true}, operand{view: input}, dw)
		}
		if dx, add, ok := g.gradient(x); ok { // dx = dy·w
			p := matmulShape{batch: 1, m: rows, n: in, k: shaders.N(out), add: add}
			g.matmulWeight(p, dy, weight, false, dx, engine.View{}, engine.View{})
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

func (g *Graph) biasGradient(bias *Tensor, dy engine.View, rows shaders.Count) {
	if db, add, ok := g.gradient(bias); ok {
		g.record(shaders.ColumnSum, shaders.ColumnSumParams{Rows: rows, Cols: uint32(bias.Size()), Accumulate: shaders.Flag(add)}, dy, db)
	}
}

// storedWeight is a matrix as matmuls read it.
type storedWeight struct {
	view   engine.View
	format *quant.Format // nil: floats
}

// weight is a parameter in the recording's Type, or quantised.
func (g *Graph) weight(w *Tensor) storedWeight { return g.weightIn(g.Type, w) }

// weightIn is a parameter in a type, or quantised.
func (g *Graph) weightIn(t shaders.Type, w *Tensor) storedWeight {
	if w.node.format != nil {
		return storedWeight{w.View(), w.node.format}
	}
	return storedWeight{view: g.floatWeight(t, w)}
}

// floatWeight is a parameter in a type.
func (g *Graph) floatWeight(t shaders.Type, w *Tensor) engine.View {
	if b := w.node.half.Buffer; b != nil && b.Type == t {
		return w.node.half
	}
	return g.castTo(t, w.View(), w.Size())
}

// matmulWeight records c = a·op(w) + bias + residual, of which the last two may be absent:
// with trans w is stored as [N,K], else as [K,N]. a may have rows further apart (aLD).
func (g *Graph) matmulWeight(p matmulShape, a engine.View, w storedWeight, trans bool, c, bias, residual engine.View) {
	if w.format == nil {
		g.matmulBias(p, operand{view: a, ld: p.aLD}, operand{view: w.view, trans: trans}, c, bias, residual)
		return
	}
	g.record(shaders.MatMulQuant, shaders.MatMulQuantParams{
		M: p.m, N: uint32(p.n), K: p.k.Max, Format: uint32(*w.format), TransB: shaders.Flag(trans),
		LDA: cmp.Or(uint32(p.aLD), p.k.Max), LDC: cmp.Or(uint32(p.ld), uint32(p.n)),
		FullPrecision: shaders.Flag(p.precise || g.Train),
		Accumulate:    shaders.Flag(p.add), Bias: shaders.Flag(bias.Buffer != nil), Residual: shaders.Flag(residual.Buffer != nil),
	}, a, w.view, bias, residual, c)
}

// Logits computes x·wᵀ in 32 bits for one row x [1,D] and w [V,D]: [1,V].
func (g *Graph) Logits(x, w *Tensor) *Tensor {
	check(x.Size() == w.Cols(), "logits", "x [1,D] and w [V,D]", x, w)
	return &Tensor{Shape: []int{1, w.Shape[0]}, node: g.LogitRows(x, w).node}
}

// LogitRows is Logits for rows x [R,D]: [R,V], where an odd V has one more column, which is not written.
func (g *Graph) LogitRows(x, w *Tensor) *Tensor {
	check(len(w.Shape) == 2 && x.Cols() == w.Cols(), "logits", "x [R,D] and w [V,D]", x, w)
	vocabulary, d := w.Shape[0], w.Shape[1]
	ld := evenRow(vocabulary)
	y := g.NewFloat32("logits", x.Size()/d, ld)
	// Errors of the head are errors of logits.
	p := matmulShape{batch: 1, m: x.rows(), n: vocabulary, k: shaders.N(d), ld: ld, precise: true}
	g.matmulWeight(p, g.cast(x.View(), x.Size()), g.weight(w), true, y.View(), engine.View{}, engine.View{})
	return y
}

// evenRow rounds a row's length up to a multiple of two, so that it takes whole words in
// 16 bits.
func evenRow(n int) int { return (n + 1) / 2 * 2 }

// viewOf is the view of a tensor, absent for nil.
func viewOf(t *Tensor) engine.View {
	if t == nil {
		return engine.View{}
	}
	return t.View()
}
