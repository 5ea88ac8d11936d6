package nn

import "patchwork/engine"

// Checkpointed records y = f(x). With Options.Recompute f's activations are not kept: the
// backward pass computes f again from x, activation checkpointing (Chen et al.,
// "Training deep nets with sublinear memory cost", 2016). Besides x, f may use parameters
// and inputs, but no other tensor that takes a gradient. Losses and gradients have the
// same bits either way.
func (g *Graph) Checkpointed(x *Tensor, f func(x *Tensor) *Tensor) *Tensor {
	if !g.Recompute || !g.Train {
		return f(x)
	}
	outer := g.tape
	g.tape = nil
	y := f(x)
	g.tape = outer
	g.onBackward(y, func(dy engine.View) { g.recomputeBackward(f, x, dy, y.node) })
	return y
}

// recomputeBackward records f again and takes dy, the gradient of its first result, through it.
func (g *Graph) recomputeBackward(f func(x *Tensor) *Tensor, x *Tensor, dy engine.View, first *node) {
	g.tape = nil // Backward, which runs this, iterates over the outer one
	y := f(x)
	g.SetGrad(y, dy)
	y.node.halfGrad, y.node.ownsGrad = first.halfGrad, first.ownsGrad
	g.Backward()
}
