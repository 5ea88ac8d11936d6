package nn

import "patchwork/engine"

// Recomputed records y = f(x). Where the recording asks for it, the backward pass
// finds nothing of f's inside in memory but does f again, from x: activation
// checkpointing (Chen et al., "Training deep nets with sublinear memory cost",
// 2016). f may use parameters and inputs besides x, and no other tensor that
// takes a gradient. Losses and gradients have the same bits either way.
func (g *Graph) Recomputed(x *Tensor, f func(x *Tensor) *Tensor) *Tensor {
	if !g.Recompute || !g.Train {
		return f(x)
	}
	outside := g.tape
	g.tape = nil
	y := f(x)
	g.tape = outside
	g.onBackward(y, func(dy engine.View) { g.backwardAgain(f, x, dy, y.node) })
	return y
}

// backwardAgain does f again and takes dy, the gradient of its first result, through it.
func (g *Graph) backwardAgain(f func(x *Tensor) *Tensor, x *Tensor, dy engine.View, first *node) {
	g.tape = nil // Backward, which runs this, holds on to the outer one
	y := f(x)
	g.Seed(y, dy)
	y.node.rounded, y.node.own = first.rounded, first.own
	g.Backward()
}
