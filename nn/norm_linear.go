package nn

import "patchwork/shaders"

// mostFused is up to how many rows a norm is computed together with the product behind
// it, which reads its weights once for every row.
const mostFused = 4

// fuses says whether what follows RMSNorm of x can be computed together with it: for the
// few rows of generation, of which there are no gradients.
func (g *Graph) fuses(x *Tensor) bool {
	rows := x.rows()
	return !g.Train && rows.Slot == 0 && rows.Max <= mostFused && x.node.view.Buffer.Type == shaders.F32
}

// ForwardNorm is Forward of RMSNorm of x [...,I] in one kernel. ok is false, and nothing
// is recorded, where Forward's would be or layers have a bias, in training, and for more
// than a few rows.
func (s Stack) ForwardNorm(g *Graph, norm RMSNorm, x *Tensor) (y *Tensor, ok bool) {
	if !g.fuses(x) || s[0].Bias != nil {
		return nil, false
	}
	w, _, ok := s.joined(g)
	if !ok {
		return nil, false
	}
	y = g.newNormed(x, w)
	g.normLinear(norm, x, w, nil, y, w.Shape[0])
	return y, true
}

// NormSwiGLU computes silu(gate(h))·up(h) for h, the RMSNorm of x, in one kernel:
// x [...,I] to y [...,O]. ok is as ForwardNorm's.
func (g *Graph) NormSwiGLU(norm RMSNorm, x *Tensor, gate, up Linear) (y *Tensor, ok bool) {
	if !g.fuses(x) || gate.Bias != nil || up.Bias != nil {
		return nil, false
	}
	w, v := g.Param(gate.Weight), g.Param(up.Weight)
	check(v.Size() == w.Size() && v.Cols() == w.Cols(), "swiglu", "the same shape twice", w, v)
	y = g.newNormed(x, w)
	g.normLinear(norm, x, w, v, y, w.Shape[0])
	return y, true
}

// NormLogits computes h·wᵀ in 32 bits for h, the RMSNorm of one row x [1,D], in one
// kernel: w [V,D], y [1,V].
func (g *Graph) NormLogits(norm RMSNorm, x, w *Tensor) *Tensor {
	vocabulary := w.Shape[0]
	check(g.fuses(x) && x.Size() == w.Cols(), "logits", "x [1,D] of 32 bits and w [V,D], in no training", x, w)
	y := g.NewFloat32("logits", 1, evenRow(vocabulary))
	g.normLinear(norm, x, w, nil, y, y.Cols())
	return &Tensor{Shape: []int{1, vocabulary}, node: y.node}
}

// newNormed is room for the product of x's rows by w [O,I]: [...,O].
func (g *Graph) newNormed(x, w *Tensor) *Tensor {
	return g.New(w.node.name, append(x.Shape[:len(x.Shape)-1:len(x.Shape)-1], w.Shape[0])...)
}

// normLinear records the kernel, gated where up is not nil; ld is what lies between y's rows.
func (g *Graph) normLinear(norm RMSNorm, x, w, up, y *Tensor, ld int) {
	gain := g.Param(norm.Weight)
	check(x.Cols() == w.Cols() && gain.Size() == x.Cols(), "norm and linear", "x [...,I], gain [I] and w [O,I]", x, gain, w)
	weight := g.weight(w)
	second := weight // which a call that is not gated does not read
	if up != nil {
		second = g.weight(up)
	}
	p := shaders.RMSNormLinearParams{
		Rows: x.rows().Max, N: uint32(w.Shape[0]), K: uint32(x.Cols()), LD: uint32(ld), Gated: shaders.Flag(up != nil), Eps: norm.Eps,
	}
	g.record(shaders.RMSNormLinear, p, x.View(), gain.View(), weight, second, y.View())
}
