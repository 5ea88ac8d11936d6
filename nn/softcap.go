package nn

import "patchwork/shaders"

// SoftCap computes limit·tanh(x/limit) of logits, in 32 bits and without a gradient: in a loss the soft
// cap is HeadCrossEntropy's.
func (g *Graph) SoftCap(x *Tensor, limit float32) *Tensor {
	check(!g.Train, "soft cap", "a recording without gradients", x)
	y := g.NewFloat32("soft cap", x.Shape...)
	g.record(shaders.SoftCap, shaders.SoftCapParams{N: uint32(x.Size()), Cap: limit}, x.View(), y.View())
	return y
}
