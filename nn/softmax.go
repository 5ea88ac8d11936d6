package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Softmax is the softmax of the last axis of x [...,C] over the columns where mask (int32,
// x's shape) is not 0.
func (g *Graph) Softmax(x, mask *Tensor) *Tensor {
	check(x.Size() == mask.Size(), "softmax", "a mask of x's shape", x, mask)
	y := g.newLike(x, "softmax", x.Shape...)
	rows, cols := x.rows(), uint32(x.Cols())
	g.record(shaders.Softmax, shaders.SoftmaxParams{Rows: rows, Cols: cols}, x.View(), mask.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			g.record(shaders.SoftmaxBackward, shaders.SoftmaxBackwardParams{Rows: rows, Cols: cols, Accumulate: shaders.Flag(add)}, y.View(), dy, dx)
		}
	})
	return y
}
