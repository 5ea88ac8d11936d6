package nn

import (
	"slices"

	"patchwork/engine"
	"patchwork/shaders/quant"
)

// fusedLinear is several Linear layers of the same input, which are one matmul where
// their weights are contiguous in memory.
type fusedLinear []Linear

// forward computes all layers by one matmul: x [...,I] to y [...,ΣO], their outputs
// side by side. ok is false, and nothing is recorded, where params cannot join them.
func (f fusedLinear) forward(g *Graph, x *Tensor) (y *Tensor, ok bool) {
	w, b, ok := f.params(g)
	if !ok {
		return nil, false
	}
	return g.Linear(x, w, b, nil), true
}

// params returns the layers' weights and biases, nil for none, as one tensor each. ok
// is false where they are not contiguous, where only some of the layers take gradients
// or have a bias, where one has an adapter, and in a recording with NoFusion.
func (f fusedLinear) params(g *Graph) (w, b *Tensor, ok bool) {
	if g.NoFusion {
		return nil, nil, false
	}
	weights, biases := make([]*Param, len(f)), make([]*Param, len(f))
	for i, l := range f {
		weights[i], biases[i] = l.Weight, l.Bias
		if (l.Bias == nil) != (f[0].Bias == nil) || l.Adapter != nil {
			return nil, nil, false
		}
	}
	if w, ok = g.fusedParam(weights); ok && f[0].Bias != nil {
		b, ok = g.fusedParam(biases)
	}
	return w, b, ok
}

// fusedParam is parameters that differ only in their first axis as one tensor, the
// same one each time.
func (g *Graph) fusedParam(params []*Param) (*Tensor, bool) {
	key := [2]*Param{params[0], params[len(params)-1]}
	if t := g.fused[key]; t != nil {
		return t, true
	}
	first := g.Param(params[0])
	shape := slices.Clone(first.Shape)
	n := &node{name: params[0].Name + " (fused)", needsGrad: first.node.needsGrad, format: first.node.format}
	var views, halves, grads []engine.View
	for i, p := range params {
		t := g.Param(p)
		if t.node.needsGrad != first.node.needsGrad || !sameFormat(t.node.format, first.node.format) {
			return nil, false
		}
		if i > 0 {
			shape[0] += t.Shape[0]
		}
		views, halves, grads = append(views, t.node.view), append(halves, t.node.half), append(grads, t.node.grad)
		n.parts = append(n.parts, t.node)
	}
	for _, join := range []struct {
		whole *engine.View
		parts []engine.View
	}{{&n.view, views}, {&n.half, halves}, {&n.grad, grads}} {
		var ok bool
		if *join.whole, ok = joinViews(join.parts); !ok {
			return nil, false
		}
	}
	t := &Tensor{Shape: shape, node: n}
	g.fused[key] = t
	return t, true
}

func sameFormat(a, b *quant.Format) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// joinViews is one view of several that are contiguous in one allocation of a buffer.
// If all are absent, so is the result.
func joinViews(parts []engine.View) (whole engine.View, ok bool) {
	whole = parts[0]
	for _, v := range parts[1:] {
		if v.Buffer != whole.Buffer || v.Offset != whole.Offset+whole.Bytes {
			return engine.View{}, false
		}
		whole.Bytes += v.Bytes
	}
	return whole, whole.Buffer == nil || whole.Buffer.Contiguous(whole.Offset, whole.Bytes)
}
