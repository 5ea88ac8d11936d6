package vlm

import (
	"fmt"

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
	layerWeights
	expert *layerWeights // of image tokens; nil: as all others
	scalar *nn.Param     // [1], or nil
}

// DecoderPrefix is the prefix of the decoder's parameter names.
const DecoderPrefix = "decoder."

func newDecoder(d nn.Declarer, config Config, init Init) decoder {
	c := config.Text
	dec := decoder{embed: d.Matrix("decoder.model.embed_tokens.weight", c.VocabSize, c.HiddenSize, false, nn.Init{Std: init.Embedding})}
	for i := range c.NumHiddenLayers {
		dec.layers = append(dec.layers, newDecoderLayer(d, config, i, init))
	}
	dec.norm = d.RMSNorm("decoder.model.norm", c.HiddenSize, float32(c.RMSNormEps))
	dec.head = dec.embed
	if !c.TieWordEmbeddings {
		dec.head = d.Matrix("decoder.lm_head.weight", c.VocabSize, c.HiddenSize, true, init.linear(c.HiddenSize))
	}
	return dec
}

// newDecoderLayer declares the parameters of layer i in memory order.
func newDecoderLayer(d nn.Declarer, config Config, i int, init Init) decoderLayer {
	c, name := config.Text, fmt.Sprintf("decoder.model.layers.%d.", i)
	d.Block = name
	l := decoderLayer{LayerConfig: c.Layer(i), layerWeights: newLayerWeights(d, c, i, name, init)}
	if l.QKNorm {
		q, k := d.RMSNorm(name+"self_attn.q_norm", l.HeadDim, float32(c.RMSNormEps)), d.RMSNorm(name+"self_attn.k_norm", l.HeadDim, float32(c.RMSNormEps))
		l.qkv.QNorm, l.qkv.KNorm = &q, &k
	}
	if l.ValueNorm {
		l.qkv.VNorm = &nn.RMSNorm{Eps: float32(c.RMSNormEps)}
	}
	if l.LayerScalar {
		l.scalar = d.Params.Add(&nn.Param{Name: name + "layer_scalar", Shape: []int{1}, Group: GroupBuffers, Block: name, Init: nn.Init{Mean: 1}})
	}
	for _, linear := range l.linears() {
		linear.Adapter = config.Adapter.adapt(d, linear.Weight)
	}
	if config.ImageExperts {
		l.expert = newExpert(d, c, i, init)
	}
	return l
}

// attentionContext are the inputs of a layer's attention besides the hidden states.
type attentionContext struct {
	kinds     []kindContext // of TextConfig.AttentionKinds
	subsets   *tokenSubsets // nil: no token has weights of its own
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
	if l.expert != nil && c.subsets != nil {
		x = l.forwardExperts(g, x, c, i, trace)
	} else {
		x = l.add(g, x, l.attention(g, x, c, i, trace).RowCount(c.countSlot), i, trace)
	}
	if l.scalar != nil {
		x = g.Scale(x, g.Param(l.scalar))
	}
	return x
}

// attention is that of layer number i over the hidden states x [B·T, D], with all before it: [B·T, H·D].
func (l *decoderLayer) attention(g *nn.Graph, x *nn.Tensor, c attentionContext, i int, trace Trace) *nn.Tensor {
	if c.paged == nil || c.paged.Pages == nil {
		q, k, v := l.project(g, x, c, i)
		return l.attend(g, q, k, v, c, i, trace)
	}
	kind, cache := c.kinds[l.Attention], c.paged.layer(i)
	y := g.AttentionPaged(l.qkv.ForwardPaged(g, x, kind.rope, cache), cache, kind.intervals, l.Scale)
	return y.Reshape(x.Shape[0], l.o.Weight.Shape[1])
}

// project returns queries [B,T,H,D], and keys and values [B,T,K,D], or all of the cache, or of the sequence in
// its pages, [1,capacity,K,D].
func (l *decoderLayer) project(g *nn.Graph, x *nn.Tensor, c attentionContext, i int) (q, k, v *nn.Tensor) {
	rope := c.kinds[l.Attention].rope
	switch {
	case c.paged != nil:
		cache := c.paged.layer(i)
		q = l.qkv.ForwardPaged(g, x, rope, cache)
		k, v = g.ReadPages(cache)
		return q, k, v
	case c.cache == nil:
		return l.qkv.Forward(g, x, rope)
	}
	return l.qkv.ForwardCached(g, x, rope, c.cache.layer(i))
}

// attend is attention over what project returns: [B·T, H·D].
func (l *decoderLayer) attend(g *nn.Graph, q, k, v *nn.Tensor, c attentionContext, i int, trace Trace) *nn.Tensor {
	if c.observe != nil {
		c.observe(g, l.LayerConfig, q, k)
	}
	name := fmt.Sprintf("layer.%d.", i)
	q, k, v = trace.keep(g, name+"q", q), trace.keep(g, name+"k", k), trace.keep(g, name+"v", v)
	return g.Attention(q, k, v, c.kinds[l.Attention].intervals, l.Scale).Reshape(q.Shape[0]*q.Shape[1], l.o.Weight.Shape[1])
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
