package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// SwiGLU computes gate·sigmoid(gate)·up, elementwise.
func (g *Graph) SwiGLU(gate, up *Tensor) *Tensor {
	check(gate.Size() == up.Size(), "swiglu", "the same shape twice", gate, up)
	y := g.newLike(gate, "swiglu", gate.Shape...).sameRows(gate)
	n := shaders.N(gate.Size())
	g.record(shaders.SwiGLU, shaders.SwiGLUParams{N: n}, gate.View(), up.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dgate, addGate, _ := g.gradient(gate)
		dup, addUp, _ := g.gradient(up)
		g.record(shaders.SwiGLUBackward, shaders.SwiGLUBackwardParams{N: n, AccumulateGate: shaders.Flag(addGate), AccumulateUp: shaders.Flag(addUp)},
			gate.View(), up.View(), dy, dgate, dup)
	})
	return y
}
