package nn

import (
	"slices"

	"patchwork/engine"
)

// Stack is several Linear layers of the same input, whose weights a device sees as
// one matrix where they lie one behind the other in memory.
type Stack []Linear

// Forward computes all layers by one product: x [...,I] to y [...,ΣO], their outputs
// side by side. ok is false, and nothing is recorded, where the layers do not lie
// one behind the other, some of them alone take gradients or have a bias, or the
// recording asks for them Apart.
func (s Stack) Forward(g *Graph, x *Tensor) (y *Tensor, ok bool) {
	w, b, ok := s.joined(g)
	if !ok {
		return nil, false
	}
	return g.Linear(x, w, b, nil), true
}

// joined are the layers' weights and biases, nil for none, as one tensor each.
func (s Stack) joined(g *Graph) (w, b *Tensor, ok bool) {
	if g.Apart {
		return nil, nil, false
	}
	weights, biases := make([]*Param, len(s)), make([]*Param, len(s))
	for i, l := range s {
		weights[i], biases[i] = l.Weight, l.Bias
		if (l.Bias == nil) != (s[0].Bias == nil) {
			return nil, nil, false
		}
	}
	if w, ok = g.stacked(weights); ok && s[0].Bias != nil {
		b, ok = g.stacked(biases)
	}
	return w, b, ok
}

// stacked is parameters that differ in their first axis alone as one tensor, the
// same one each time.
func (g *Graph) stacked(params []*Param) (*Tensor, bool) {
	key := [2]*Param{params[0], params[len(params)-1]}
	if t := g.stacks[key]; t != nil {
		return t, true
	}
	first := g.Param(params[0])
	shape := slices.Clone(first.Shape)
	var views, narrow, grads []engine.View
	for i, p := range params {
		t := g.Param(p)
		if t.node.needsGrad != first.node.needsGrad {
			return nil, false
		}
		if i > 0 {
			shape[0] += t.Shape[0]
		}
		views, narrow, grads = append(views, t.node.view), append(narrow, t.node.narrow), append(grads, t.node.grad)
	}
	n := &node{name: params[0].Name + " and those behind", needsGrad: first.node.needsGrad}
	for _, p := range params {
		n.parts = append(n.parts, g.Param(p).node)
	}
	for _, join := range []struct {
		whole *engine.View
		parts []engine.View
	}{{&n.view, views}, {&n.narrow, narrow}, {&n.grad, grads}} {
		var ok bool
		if *join.whole, ok = adjoin(join.parts); !ok {
			return nil, false
		}
	}
	t := &Tensor{Shape: shape, node: n}
	g.stacks[key] = t
	return t, true
}

// adjoin is the view of several that lie one behind the other in one piece of a buffer;
// absent ones together are absent.
func adjoin(parts []engine.View) (whole engine.View, ok bool) {
	whole = parts[0]
	for _, v := range parts[1:] {
		if v.Buffer != whole.Buffer || v.Offset != whole.Offset+whole.Bytes {
			return engine.View{}, false
		}
		whole.Bytes += v.Bytes
	}
	return whole, whole.Buffer == nil || whole.Buffer.Contiguous(whole.Offset, whole.Bytes)
}
