package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Add computes a + b of one shape, in 32 bits.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	check(a.Size() == b.Size(), "add", "the same shape twice", a, b)
	n := a.Size()
	y := g.NewFloat32("sum", a.Shape...).sameRows(a)
	g.record(shaders.Copy, shaders.CopyParams{N: uint32(n)}, a.View(), y.View())
	g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(n)}, b.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if db, add, ok := g.gradient(b); ok && add {
			g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(n)}, dy, db)
		} else if ok {
			g.record(shaders.Copy, shaders.CopyParams{N: uint32(n)}, dy, db)
		}
		g.passGradient(a, dy)
	})
	return y
}
