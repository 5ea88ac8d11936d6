package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Add computes a + b, of the same shape.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	check(a.Size() == b.Size(), "add", "the same shape twice", a, b)
	y := g.newLike(a, "add", a.Shape...)
	g.record(shaders.Add, shaders.AddParams{N: shaders.N(a.Size())}, a.View(), b.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		g.copyGradient(b, dy)
		g.passGradient(a, dy)
	})
	return y
}
