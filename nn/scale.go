package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Scale computes x·s for one factor s [1], in 32 bits.
func (g *Graph) Scale(x, s *Tensor) *Tensor {
	check(s.Size() == 1 && !x.storedAs().Half(), "scale", "x in 32 bits and s [1]", x, s)
	n := shaders.N(x.Size())
	y := g.NewFloat32("scaled", x.Shape...).SameRows(x)
	g.record(shaders.Scale, shaders.ScaleParams{N: n}, x.View(), s.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if ds, add, ok := g.gradient(s); ok { // ds = dy·x
			p := matmulShape{batch: 1, m: shaders.N(1), n: 1, k: n, add: add}
			g.matmul(p, operand{view: dy}, operand{view: x.View()}, ds)
		}
		if dx, add, ok := g.gradient(x); ok {
			g.record(shaders.Scale, shaders.ScaleParams{N: n, Accumulate: shaders.Flag(add)}, dy, s.View(), dx)
		}
	})
	return y
}
