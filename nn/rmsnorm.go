package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// RMSNorm divides the last axis of x [...,C] by its root mean square and scales
// it by w [C], nil for ones. With C = head size it is Qwen3's QK-norm.
func (g *Graph) RMSNorm(x, w *Tensor, eps float32) *Tensor {
	return g.rmsNorm(g.New("rmsnorm", x.Shape...), x, w, nil, eps)
}

// RMSNormAdd is RMSNorm added to a residual [...,C], in 32 bits: the norm after a half of Gemma's
// layers.
func (g *Graph) RMSNormAdd(x, w, residual *Tensor, eps float32) *Tensor {
	check(residual.Size() == x.Size(), "rmsnorm", "a residual of x's shape", x, residual)
	return g.rmsNorm(g.NewFloat32("rmsnorm", x.Shape...), x, w, residual, eps)
}

func (g *Graph) rmsNorm(y, x, w, residual *Tensor, eps float32) *Tensor {
	cols := x.Cols()
	check(w == nil || w.Size() == cols, "rmsnorm", "w [C]", x, w)
	rows := x.rows()
	y.SameRows(x)
	rstd := g.NewFloat32("rstd", int(rows.Max))
	g.record(shaders.RMSNorm, shaders.RMSNormParams{
		Rows: rows, Cols: uint32(cols), Eps: eps, Weightless: shaders.Flag(w == nil), Residual: shaders.Flag(residual != nil),
	}, x.View(), viewOf(w), y.View(), rstd.View(), viewOf(residual))
	if w == nil && residual == nil && !x.node.needsGrad {
		y.node.needsGrad = false
		return y
	}
	g.onBackward(y, func(dy engine.View) {
		dx, addX, _ := g.gradient(x)
		dw, addW, withW := g.weightGradient(w)
		half := g.halfGradient(x)
		g.record(shaders.RMSNormBackward, shaders.RMSNormBackwardParams{
			Rows: rows, Cols: uint32(cols), AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW), WithW: shaders.Flag(withW),
			Narrow: shaders.Flag(half.Buffer != nil), Weightless: shaders.Flag(w == nil),
		}, x.View(), viewOf(w), rstd.View(), dy, dx, dw, half)
		if residual != nil {
			g.passGradient(residual, dy)
		}
	})
	return y
}

// weightGradient is gradient for a weight that may be absent.
func (g *Graph) weightGradient(w *Tensor) (view engine.View, accumulate, ok bool) {
	if w == nil {
		return engine.View{}, false, false
	}
	return g.gradient(w)
}
