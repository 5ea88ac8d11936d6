package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Float32 returns x in 32 bits, as residuals are.
func (g *Graph) Float32(x *Tensor) *Tensor {
	if x.storedAs() == shaders.F32 {
		return x
	}
	y := g.NewFloat32(x.Name(), x.Shape...).SameRows(x)
	g.copy(x.View(), y.View(), x.Size())
	g.onBackward(y, func(dy engine.View) { g.passGradient(x, dy) })
	return y
}
