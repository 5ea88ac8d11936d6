package vlm

import (
	"fmt"
	"math"

	"patchwork/nn"
)

// decoder is a Llama or Qwen3 language model. Its parameters have Hugging Face's names with the
// prefix "decoder.".
type decoder struct {
	embed  *nn.Param // [V, D]
	layers []decoderLayer
	norm   nn.RMSNorm
	head   *nn.Param // [V, D]; the same as embed if they are tied
}

type decoderLayer struct {
	qkv  nn.NormQKV    // input_layernorm, q_proj, k_proj, v_proj; Qwen3: q_norm, k_norm
	o    nn.Linear     // o_proj
	mlp  nn.NormSwiGLU // post_attention_layernorm, gate_proj, up_proj
	down nn.Linear     // down_proj
}

// DecoderPrefix is the prefix of the decoder's parameter names.
const DecoderPrefix = "decoder."

func newDecoder(d nn.Declarer, config Config, init Init) decoder {
	c := config.Text
	dec := decoder{embed: d.Matrix("decoder.model.embed_tokens.weight", c.VocabSize, c.HiddenSize, false, nn.Init{Std: init.Embedding})}
	for i := range c.NumHiddenLayers {
		dec.layers = append(dec.layers, newDecoderLayer(d, c, fmt.Sprintf("decoder.model.layers.%d.", i), init, config.Adapter))
	}
	dec.norm = d.RMSNorm("decoder.model.norm", c.HiddenSize, float32(c.RMSNormEps))
	dec.head = dec.embed
	if !c.TieWordEmbeddings {
		dec.head = d.Matrix("decoder.lm_head.weight", c.VocabSize, c.HiddenSize, true, init.linear(c.HiddenSize))
	}
	return dec
}

// newDecoderLayer declares a layer's parameters in memory order.
func newDecoderLayer(d nn.Declarer, c TextConfig, name string, init Init, adapter *Adapter) decoderLayer {
	d.Block = name
	hidden, inner, eps := c.HiddenSize, c.IntermediateSize, float32(c.RMSNormEps)
	queries, keys := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	// Projections into the residual stream are scaled down by their number (GPT-2).
	residual := func(in int) nn.Init {
		i := init.linear(in)
		i.Std /= math.Sqrt(2 * float64(c.NumHiddenLayers))
		return i
	}
	l := decoderLayer{
		qkv: nn.NormQKV{
			Norm:  d.RMSNorm(name+"input_layernorm", hidden, eps),
			Q:     d.Linear(name+"self_attn.q_proj", hidden, queries, c.AttentionBias, init.linear(hidden)),
			K:     d.Linear(name+"self_attn.k_proj", hidden, keys, c.AttentionBias, init.linear(hidden)),
			V:     d.Linear(name+"self_attn.v_proj", hidden, keys, c.AttentionBias, init.linear(hidden)),
			Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		},
		o: d.Linear(name+"self_attn.o_proj", queries, hidden, c.AttentionBias, residual(queries)),
		mlp: nn.NormSwiGLU{
			Norm: d.RMSNorm(name+"post_attention_layernorm", hidden, eps),
			Gate: d.Linear(name+"mlp.gate_proj", hidden, inner, false, init.linear(hidden)),
			Up:   d.Linear(name+"mlp.up_proj", hidden, inner, false, init.linear(hidden)),
		},
		down: d.Linear(name+"mlp.down_proj", inner, hidden, false, residual(inner)),
	}
	if c.QKNorm() {
		qNorm, kNorm := d.RMSNorm(name+"self_attn.q_norm", c.HeadDim, eps), d.RMSNorm(name+"self_attn.k_norm", c.HeadDim, eps)
		l.qkv.QNorm, l.qkv.KNorm = &qNorm, &kNorm
	}
	for _, linear := range l.linears() {
		linear.Adapter = adapter.adapt(d, linear.Weight)
	}
	return l
}

// linears are the layer's projections.
func (l *decoderLayer) linears() []*nn.Linear {
	return []*nn.Linear{&l.qkv.Q, &l.qkv.K, &l.qkv.V, &l.o, &l.mlp.Gate, &l.mlp.Up, &l.down}
}

// attentionContext are the inputs of a layer's attention besides the hidden states.
type attentionContext struct {
	rope      nn.RoPE    // table [positions, head size], positions [B, T]
	intervals *nn.Tensor // [B·T, 4]
	cache     *Cache     // nil: the keys and values are only those of x's tokens
	countSlot int        // step block entry with the number of tokens in use; 0 = all
	// observe, unless nil, is called with the queries [B,T,H,D] and keys [B,T,K,D] of every layer
	// after RoPE.
	observe func(g *nn.Graph, q, k *nn.Tensor)
}

// forward runs the embeddings [B·T, D] through all layers and the final norm.
func (d *decoder) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	return trace.keep(g, "norm", d.norm.Forward(g, d.hidden(g, x, c, trace)))
}

// hidden runs the embeddings [B·T, D] through all layers.
func (d *decoder) hidden(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	for i, l := range d.layers {
		g.Program.SetLabel(fmt.Sprintf("layers.%d", i))
		x = trace.keep(g, fmt.Sprintf("layer.%d", i), g.Checkpointed(x, func(x *nn.Tensor) *nn.Tensor {
			return l.forward(g, x, c, i)
		}))
	}
	g.Program.SetLabel("head")
	return x
}

// forward runs the hidden states x [B·T, D] through layer number i.
func (l *decoderLayer) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, i int) *nn.Tensor {
	var q, k, v *nn.Tensor // [B,T,H,D], [B,T,K,D]
	if c.cache == nil {
		q, k, v = l.qkv.Forward(g, x, c.rope)
	} else { // k and v are all of the cache, [1,capacity,K,D]
		q, k, v = l.qkv.ForwardCached(g, x, c.rope, c.cache.layer(i))
	}
	if c.observe != nil {
		c.observe(g, q, k)
	}
	y := g.Attention(q, k, v, c.intervals).Reshape(x.Shape[0], l.o.Weight.Shape[1])
	x = l.o.ForwardAdd(g, y.RowCount(c.countSlot), x)   // x + o(attention(qkv(norm(x))))
	return l.down.ForwardAdd(g, l.mlp.Forward(g, x), x) // x + down(swiglu(norm(x)))
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
	}
	return read
}
