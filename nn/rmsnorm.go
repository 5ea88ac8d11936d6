package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// RMSNorm divides the last axis of x [...,C] by its root mean square and scales
// it by w [C]; a nil w scales nothing. With C = head size it is Qwen3's QK-norm.
func (g *Graph) RMSNorm(x, w *Tensor, eps float32) *Tensor {
	cols := x.Cols()
	var weight engine.View // absent
	if w != nil {
		check(w.Size() == cols, "rmsnorm", "w [C]", x, w)
		weight = w.View()
	}
	weightless := shaders.Flag(w == nil)
	rows := x.rows()
	y, rstd := g.New("rmsnorm", x.Shape...).sameRows(x), g.NewFloat32("rstd", int(rows.Max))
	g.record(shaders.RMSNorm, shaders.RMSNormParams{Rows: rows, Cols: uint32(cols), Eps: eps, Weightless: weightless},
		x.View(), weight, y.View(), rstd.View())
	if w == nil && !x.node.needsGrad {
		y.node.needsGrad = false
		return y
	}
	g.onBackward(y, func(dy engine.View) {
		dx, addX, _ := g.gradient(x)
		var dw engine.View
		var addW, withW bool
		if w != nil {
			dw, addW, withW = g.gradient(w)
		}
		half := g.halfGradient(x)
		g.record(shaders.RMSNormBackward, shaders.RMSNormBackwardParams{
			Rows: rows, Cols: uint32(cols), AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW), WithW: shaders.Flag(withW),
			Narrow: shaders.Flag(half.Buffer != nil), Weightless: weightless,
		}, x.View(), weight, rstd.View(), dy, dx, dw, half)
	})
	return y
}
