package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Activation is what a gated unit applies to its gate.
type Activation uint32

// The activations of gated units.
const (
	SiLU     = Activation(shaders.SiLU)
	GELUTanh = Activation(shaders.GELUTanh) // the tanh form
)

// SwiGLU computes activation(gate)·up, elementwise: SwiGLU, or GeGLU with GELUTanh.
func (g *Graph) SwiGLU(gate, up *Tensor, activation Activation) *Tensor {
	check(gate.Size() == up.Size(), "swiglu", "the same shape twice", gate, up)
	y := g.newLike(gate, "swiglu", gate.Shape...).SameRows(gate)
	n := shaders.N(gate.Size())
	g.record(shaders.SwiGLU, shaders.SwiGLUParams{N: n, Activation: uint32(activation)}, gate.View(), up.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dgate, addGate, _ := g.gradient(gate)
		dup, addUp, _ := g.gradient(up)
		g.record(shaders.SwiGLUBackward, shaders.SwiGLUBackwardParams{N: n, AccumulateGate: shaders.Flag(addGate), AccumulateUp: shaders.Flag(addUp), Activation: uint32(activation)},
			gate.View(), up.View(), dy, dgate, dup)
	})
	return y
}

// SwiGLUFused is SwiGLU of x [...,2F], which holds gate and up side by side in
// every row: y [...,F].
func (g *Graph) SwiGLUFused(x *Tensor, activation Activation) *Tensor {
	check(x.Cols()%2 == 0, "swiglu", "gate and up side by side", x)
	rows, cols := x.rows(), x.Cols()/2
	y := g.newLike(x, "swiglu", append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], cols)...).SameRows(x)
	g.record(shaders.SwiGLUStacked, shaders.SwiGLUStackedParams{Rows: rows, Cols: uint32(cols), Activation: uint32(activation)}, x.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			g.record(shaders.SwiGLUStackedBackward, shaders.SwiGLUStackedBackwardParams{Rows: rows, Cols: uint32(cols), Accumulate: shaders.Flag(add), Activation: uint32(activation)},
				x.View(), dy, dx)
		}
	})
	return y
}
