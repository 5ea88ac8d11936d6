package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// RMSNorm divides the last axis of x [...,C] by its root mean square and scales
// it by w [C]. With C = head size it is Qwen3's QK-norm.
func (g *Graph) RMSNorm(x, w *Tensor, eps float32) *Tensor {
	cols := x.Cols()
	check(w.Size() == cols, "rmsnorm", "w [C]", x, w)
	rows := x.rows()
	y, rstd := g.New("rmsnorm", x.Shape...).sameRows(x), g.NewFloat32("rstd", int(rows.Max))
	g.record(shaders.RMSNorm, shaders.RMSNormParams{Rows: rows, Cols: uint32(cols), Eps: eps},
		x.View(), w.View(), y.View(), rstd.View())
	g.onBackward(y, func(dy engine.View) {
		dx, addX, _ := g.gradient(x)
		dw, addW, withW := g.gradient(w)
		half := g.halfGradient(x)
		g.record(shaders.RMSNormBackward, shaders.RMSNormBackwardParams{
			Rows: rows, Cols: uint32(cols), AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW), WithW: shaders.Flag(withW),
			Narrow: shaders.Flag(half.Buffer != nil),
		}, x.View(), w.View(), rstd.View(), dy, dx, dw, half)
	})
	return y
}
