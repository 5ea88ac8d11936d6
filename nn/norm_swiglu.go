package nn

// NormSwiGLU is a decoder layer's MLP up to its last projection: RMSNorm, the gate and
// up projections, SwiGLU or GeGLU.
type NormSwiGLU struct {
	Norm       RMSNorm
	Gate, Up   Linear
	Activation Activation
}

// Forward computes activation(gate(h))·up(h) for h, the RMSNorm of x: [...,I] to [...,O]. It
// is one kernel for the few rows of decoding; otherwise gate and up are one matmul where
// their weights are contiguous.
func (l NormSwiGLU) Forward(g *Graph, x *Tensor) *Tensor {
	adapted := l.Gate.Adapter != nil || l.Up.Adapter != nil
	if !adapted && g.fusesNorm(x, g.Param(l.Gate.Weight)) && g.fusesNorm(x, g.Param(l.Up.Weight)) && l.Gate.Bias == nil && l.Up.Bias == nil {
		return l.oneKernel(g, x)
	}
	h := l.Norm.Forward(g, x)
	if both, ok := (fusedLinear{l.Gate, l.Up}).forward(g, h); ok { // [..., 2·O]
		return g.SwiGLUFused(both, l.Activation)
	}
	return g.SwiGLU(l.Gate.Forward(g, h), l.Up.Forward(g, h), l.Activation)
}

func (l NormSwiGLU) oneKernel(g *Graph, x *Tensor) *Tensor {
	gate, up := g.Param(l.Gate.Weight), g.Param(l.Up.Weight)
	check(up.Size() == gate.Size() && up.Cols() == gate.Cols(), "swiglu", "the same shape twice", gate, up)
	y := g.newNormLinear(x, gate)
	g.normLinear(l.Norm, x, gate, up, y, gate.Shape[0], l.Activation)
	return y
}
