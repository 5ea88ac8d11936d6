package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// GELU is the tanh form of GELU, elementwise.
func (g *Graph) GELU(x *Tensor) *Tensor {
	y := g.newLike(x, "gelu", x.Shape...).SameRows(x)
	n := shaders.N(x.Size())
	g.record(shaders.GELU, shaders.GELUParams{N: n}, x.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			g.record(shaders.GELUBackward, shaders.GELUBackwardParams{N: n, Accumulate: shaders.Flag(add)}, x.View(), dy, dx)
		}
	})
	return y
}
