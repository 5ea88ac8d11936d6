package vlm

import (
	"fmt"
	"math"
	"slices"

	"patchwork/nn"
)

// layerWeights are a layer's matrices and the norms before and after them.
type layerWeights struct {
	qkv  nn.NormQKV    // input_layernorm, q_proj, k_proj, v_proj, q_norm, k_norm
	o    addedLinear   // o_proj
	mlp  nn.NormSwiGLU // the norm before it, gate_proj, up_proj
	down addedLinear   // down_proj
}

// addedLinear is a projection whose output is added to the residual stream, after a norm if it has
// one.
type addedLinear struct {
	nn.Linear
	norm *nn.RMSNorm
}

// forward computes residual + norm(x·wᵀ).
func (l addedLinear) forward(g *nn.Graph, x, residual *nn.Tensor, name string, trace Trace) *nn.Tensor {
	if l.norm == nil {
		return l.ForwardAdd(g, x, residual)
	}
	return l.norm.ForwardAdd(g, trace.keep(g, name, l.Forward(g, x)), residual)
}

// newLayerWeights declares the matrices of layer i, and their norms, with a prefix of their names.
func newLayerWeights(d nn.Declarer, c TextConfig, i int, name string, init Init) (w layerWeights) {
	hidden, inner, eps, l := c.HiddenSize, c.IntermediateSize, float32(c.RMSNormEps), c.Layer(i)
	queries, keys := l.Heads*l.HeadDim, l.KVHeads*l.HeadDim
	// Projections into the residual stream are scaled down by their number (GPT-2).
	residual := func(in int) nn.Init {
		i := init.linear(in)
		i.Std /= math.Sqrt(2 * float64(c.NumHiddenLayers))
		return i
	}
	postNorm := func(name string) *nn.RMSNorm {
		if !l.PostNorms {
			return nil
		}
		n := d.RMSNorm(name, hidden, eps)
		return &n
	}
	beforeMLP := "post_attention_layernorm" // Llama's name of the norm before the MLP
	if l.PostNorms {
		beforeMLP = "pre_feedforward_layernorm"
	}
	w.qkv = nn.NormQKV{
		Norm:  d.RMSNorm(name+"input_layernorm", hidden, eps),
		Q:     d.Linear(name+"self_attn.q_proj", hidden, queries, l.QKVBias, init.linear(hidden)),
		K:     d.Linear(name+"self_attn.k_proj", hidden, keys, l.QKVBias, init.linear(hidden)),
		Heads: l.Heads, KVHeads: l.KVHeads, HeadDim: l.HeadDim,
	}
	if !l.KeysAsValues {
		w.qkv.V = d.Linear(name+"self_attn.v_proj", hidden, keys, l.QKVBias, init.linear(hidden))
	}
	w.o.Linear = d.Linear(name+"self_attn.o_proj", queries, hidden, l.OutputBias, residual(queries))
	w.o.norm = postNorm(name + "post_attention_layernorm")
	w.mlp = nn.NormSwiGLU{
		Norm:       d.RMSNorm(name+beforeMLP, hidden, eps),
		Gate:       d.Linear(name+"mlp.gate_proj", hidden, inner, false, init.linear(hidden)),
		Up:         d.Linear(name+"mlp.up_proj", hidden, inner, false, init.linear(hidden)),
		Activation: l.Activation,
	}
	w.down.Linear = d.Linear(name+"mlp.down_proj", inner, hidden, false, residual(inner))
	w.down.norm = postNorm(name + "post_feedforward_layernorm")
	return w
}

// linears are the layer's projections.
func (w *layerWeights) linears() []*nn.Linear {
	all := []*nn.Linear{&w.qkv.Q, &w.qkv.K, &w.qkv.V, &w.o.Linear, &w.mlp.Gate, &w.mlp.Up, &w.down.Linear}
	return slices.DeleteFunc(all, func(x *nn.Linear) bool { return x.Weight == nil })
}

// add adds the projection of the attention's output y [N, H·D] and then the MLP to x [N, D].
func (w *layerWeights) add(g *nn.Graph, x, y *nn.Tensor, i int, trace Trace) *nn.Tensor {
	name := fmt.Sprintf("layer.%d.", i)
	x = trace.keep(g, name+"mid", w.o.forward(g, y, x, name+"attn", trace)) // x + o(attention(qkv(norm(x))))
	return w.down.forward(g, w.mlp.Forward(g, x), x, name+"mlp", trace)     // x + down(swiglu(norm(x)))
}
