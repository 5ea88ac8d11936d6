package nn

import "patchwork/shaders"

// maxNormLinearRows is the largest number of rows for which RMSNorm is fused with the
// matmul after it, whose kernel reads its weights once for all rows.
const maxNormLinearRows = 4

// fusesNorm reports whether RMSNorm of x can be fused with the matmul by w after it. The
// kernel has no gradients, is for the few rows of decoding, and does not read quantised weights.
func (g *Graph) fusesNorm(x, w *Tensor) bool {
	rows := x.rows()
	return !g.Train && w.node.format == nil && rows.Slot == 0 && rows.Max <= maxNormLinearRows
}

// linear computes h·wᵀ + bias for h, the RMSNorm of x [...,I], in one kernel where
// that is possible; bias may be nil.
func (l RMSNorm) linear(g *Graph, x, w, bias *Tensor) *Tensor {
	if !g.fusesNorm(x, w) || bias != nil {
		return g.Linear(l.Forward(g, x), w, bias, nil)
	}
	y := g.newNormLinear(x, w)
	g.normLinear(l, x, w, nil, y, w.Shape[0], SiLU)
	return y
}

// NormLogits computes h·wᵀ in 32 bits for h, the RMSNorm of one row x [1,D], in one
// kernel: w [V,D], y [1,V].
func (g *Graph) NormLogits(norm RMSNorm, x, w *Tensor) *Tensor {
	if w.node.format != nil {
		return g.Logits(norm.Forward(g, x), w)
	}
	vocabulary := w.Shape[0]
	check(g.fusesNorm(x, w) && x.Size() == w.Cols(), "logits", "x [1,D] and w [V,D], not in training", x, w)
	y := g.NewFloat32("logits", 1, evenRow(vocabulary))
	g.normLinear(norm, x, w, nil, y, y.Cols(), SiLU)
	return &Tensor{Shape: []int{1, vocabulary}, node: y.node}
}

// newNormLinear makes the tensor for x's rows multiplied by w [O,I]: [...,O].
func (g *Graph) newNormLinear(x, w *Tensor) *Tensor {
	return g.New(w.node.name, append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], w.Shape[0])...)
}

// normLinear records the kernel, gated by the activation where up is not nil; ld is the number of elements
// from one row of y to the next.
func (g *Graph) normLinear(norm RMSNorm, x, w, up, y *Tensor, ld int, activation Activation) {
	gain := g.Param(norm.Weight)
	check(x.Cols() == w.Cols() && gain.Size() == x.Cols(), "norm and linear", "x [...,I], gain [I] and w [O,I]", x, gain, w)
	weight := g.floatWeight(g.Type, w)
	second := weight // not read unless the call is gated
	if up != nil {
		second = g.floatWeight(g.Type, up)
	}
	p := shaders.RMSNormLinearParams{
		Rows: x.rows().Max, N: uint32(w.Shape[0]), K: uint32(x.Cols()), LD: uint32(ld), Gated: shaders.Flag(up != nil), Eps: norm.Eps,
		Activation: uint32(activation),
	}
	g.record(shaders.RMSNormLinear, p, x.View(), gain.View(), weight, second, y.View())
}
