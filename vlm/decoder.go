package vlm

import (
	"fmt"
	"math"
	"slices"

	"patchwork/nn"
)

// decoder is a Llama, Qwen or Gemma language model, as its configuration describes it layer by layer.
// Its parameters have Hugging Face's names with the prefix "decoder.".
type decoder struct {
	embed  *nn.Param // [V, D]
	layers []decoderLayer
	norm   nn.RMSNorm
	head   *nn.Param // [V, D]; the same as embed if they are tied
}

type decoderLayer struct {
	LayerConfig
	qkv    nn.NormQKV    // input_layernorm, q_proj, k_proj, v_proj, q_norm, k_norm
	o      addedLinear   // o_proj
	mlp    nn.NormSwiGLU // the norm before it, gate_proj, up_proj
	down   addedLinear   // down_proj
	scalar *nn.Param     // [1], or nil
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

// DecoderPrefix is the prefix of the decoder's parameter names.
const DecoderPrefix = "decoder."

func newDecoder(d nn.Declarer, config Config, init Init) decoder {
	c := config.Text
	dec := decoder{embed: d.Matrix("decoder.model.embed_tokens.weight", c.VocabSize, c.HiddenSize, false, nn.Init{Std: init.Embedding})}
	for i := range c.NumHiddenLayers {
		dec.layers = append(dec.layers, newDecoderLayer(d, c, i, init, config.Adapter))
	}
	dec.norm = d.RMSNorm("decoder.model.norm", c.HiddenSize, float32(c.RMSNormEps))
	dec.head = dec.embed
	if !c.TieWordEmbeddings {
		dec.head = d.Matrix("decoder.lm_head.weight", c.VocabSize, c.HiddenSize, true, init.linear(c.HiddenSize))
	}
	return dec
}

// newDecoderLayer declares the parameters of layer i in memory order.
func newDecoderLayer(d nn.Declarer, c TextConfig, i int, init Init, adapter *Adapter) decoderLayer {
	name := fmt.Sprintf("decoder.model.layers.%d.", i)
	d.Block = name
	hidden, inner, eps := c.HiddenSize, c.IntermediateSize, float32(c.RMSNormEps)
	l := decoderLayer{LayerConfig: c.Layer(i)}
	queries, keys := l.Heads*l.HeadDim, l.KVHeads*l.HeadDim
	// Projections into the residual stream are scaled down by their number (GPT-2).
	residual := func(in int) nn.Init {
		i := init.linear(in)
		i.Std /= math.Sqrt(2 * float64(c.NumHiddenLayers))
		return i
	}
	norm := func(name string, cols int, wanted bool) *nn.RMSNorm {
		if !wanted {
			return nil
		}
		n := d.RMSNorm(name, cols, eps)
		return &n
	}
	beforeMLP := "post_attention_layernorm" // Llama's name of the norm before the MLP
	if l.PostNorms {
		beforeMLP = "pre_feedforward_layernorm"
	}
	l.qkv = nn.NormQKV{
		Norm:  d.RMSNorm(name+"input_layernorm", hidden, eps),
		Q:     d.Linear(name+"self_attn.q_proj", hidden, queries, l.QKVBias, init.linear(hidden)),
		K:     d.Linear(name+"self_attn.k_proj", hidden, keys, l.QKVBias, init.linear(hidden)),
		Heads: l.Heads, KVHeads: l.KVHeads, HeadDim: l.HeadDim,
	}
	if !l.KeysAsValues {
		l.qkv.V = d.Linear(name+"self_attn.v_proj", hidden, keys, l.QKVBias, init.linear(hidden))
	}
	l.o.Linear = d.Linear(name+"self_attn.o_proj", queries, hidden, l.OutputBias, residual(queries))
	l.o.norm = norm(name+"post_attention_layernorm", hidden, l.PostNorms)
	l.mlp = nn.NormSwiGLU{
		Norm:       d.RMSNorm(name+beforeMLP, hidden, eps),
		Gate:       d.Linear(name+"mlp.gate_proj", hidden, inner, false, init.linear(hidden)),
		Up:         d.Linear(name+"mlp.up_proj", hidden, inner, false, init.linear(hidden)),
		Activation: l.Activation,
	}
	l.down.Linear = d.Linear(name+"mlp.down_proj", inner, hidden, false, residual(inner))
	l.down.norm = norm(name+"post_feedforward_layernorm", hidden, l.PostNorms)
	l.qkv.QNorm, l.qkv.KNorm = norm(name+"self_attn.q_norm", l.HeadDim, l.QKNorm), norm(name+"self_attn.k_norm", l.HeadDim, l.QKNorm)
	if l.ValueNorm {
		l.qkv.VNorm = &nn.RMSNorm{Eps: eps}
	}
	if l.LayerScalar {
		l.scalar = d.Params.Add(&nn.Param{Name: name + "layer_scalar", Shape: []int{1}, Group: GroupBuffers, Block: name, Init: nn.Init{Mean: 1}})
	}
	for _, linear := range l.linears() {
		linear.Adapter = adapter.adapt(d, linear.Weight)
	}
	return l
}

// linears are the layer's projections.
func (l *decoderLayer) linears() []*nn.Linear {
	all := []*nn.Linear{&l.qkv.Q, &l.qkv.K, &l.qkv.V, &l.o.Linear, &l.mlp.Gate, &l.mlp.Up, &l.down.Linear}
	return slices.DeleteFunc(all, func(x *nn.Linear) bool { return x.Weight == nil })
}

// attentionContext are the inputs of a layer's attention besides the hidden states.
type attentionContext struct {
	kinds     []kindContext // of TextConfig.AttentionKinds
	cache     *Cache        // nil: the keys and values are only those of x's tokens
	paged     *PagedInputs  // instead of cache; nil: none
	countSlot int           // step block entry with the number of tokens in use; 0 = all
	observe   Observer      // nil: none
}

// kindContext are the inputs of the layers of a kind of attention.
type kindContext struct {
	rope      nn.RoPE    // table [positions, head size], positions [B, T]
	intervals *nn.Tensor // [B·T, 4]
}

// Observer is called with the queries [B,T,H,D] and keys [B,T,K,D] of every layer after RoPE.
type Observer func(g *nn.Graph, l LayerConfig, q, k *nn.Tensor)

// forward runs the embeddings [B·T, D] through all layers and the final norm.
func (d *decoder) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	return trace.keep(g, "norm", d.norm.Forward(g, d.hidden(g, x, c, trace)))
}

// hidden runs the embeddings [B·T, D] through all layers.
func (d *decoder) hidden(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	for i, l := range d.layers {
		g.Program.SetLabel(fmt.Sprintf("layers.%d", i))
		x = trace.keep(g, fmt.Sprintf("layer.%d", i), g.Checkpointed(x, func(x *nn.Tensor) *nn.Tensor {
			return l.forward(g, x, c, i, trace)
		}))
	}
	g.Program.SetLabel("head")
	return x
}

// forward runs the hidden states x [B·T, D] through layer number i.
func (l *decoderLayer) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, i int, trace Trace) *nn.Tensor {
	name := fmt.Sprintf("layer.%d.", i)
	y := l.attention(g, x, c, i, trace).Reshape(x.Shape[0], l.o.Weight.Shape[1])
	x = l.o.forward(g, y.RowCount(c.countSlot), x, name+"attn", trace) // x + o(attention(qkv(norm(x))))
	x = trace.keep(g, name+"mid", x)
	x = l.down.forward(g, l.mlp.Forward(g, x), x, name+"mlp", trace) // x + down(swiglu(norm(x)))
	if l.scalar != nil {
		x = g.Scale(x, g.Param(l.scalar))
	}
	return x
}

// attention is that of layer number i over the hidden states x [B·T, D], with all before it: [B,T,H,D].
func (l *decoderLayer) attention(g *nn.Graph, x *nn.Tensor, c attentionContext, i int, trace Trace) *nn.Tensor {
	kind, name := c.kinds[l.Attention], fmt.Sprintf("layer.%d.", i)
	if c.paged != nil {
		cache := c.paged.layer(i)
		return g.AttentionPaged(l.qkv.ForwardPaged(g, x, kind.rope, cache), cache, kind.intervals, l.Scale)
	}
	var q, k, v *nn.Tensor // [B,T,H,D], [B,T,K,D]
	if c.cache == nil {
		q, k, v = l.qkv.Forward(g, x, kind.rope)
	} else { // k and v are all of the cache, [1,capacity,K,D]
		q, k, v = l.qkv.ForwardCached(g, x, kind.rope, c.cache.layer(i))
	}
	if c.observe != nil {
		c.observe(g, l.LayerConfig, q, k)
	}
	q, k, v = trace.keep(g, name+"q", q), trace.keep(g, name+"k", k), trace.keep(g, name+"v", v)
	return g.Attention(q, k, v, kind.intervals, l.Scale)
}

// read returns the parameters that are read to decode one token: everything except the
// embedding, of which one row is read, unless it is tied to the head.
func (d *decoder) read() []*nn.Param {
	read := []*nn.Param{d.norm.Weight, d.head}
	for _, l := range d.layers {
		for _, x := range l.linears() {
			read = append(read, x.Weight)
			if x.Adapter != nil {
				read = append(read, x.Adapter.A, x.Adapter.B)
			}
		}
		read = append(read, l.qkv.Norm.Weight, l.mlp.Norm.Weight)
		for _, n := range []*nn.RMSNorm{l.o.norm, l.down.norm} {
			if n != nil {
				read = append(read, n.Weight)
			}
		}
	}
	return read
}
