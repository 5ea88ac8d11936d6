package vlm

import (
	"context"
	"fmt"
	"math"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// decoder is a Llama or Qwen3 language model; its parameters carry Hugging
// Face's names behind "decoder.".
type decoder struct {
	config TextConfig
	embed  *nn.Param // [V, D]
	layers []decoderLayer
	norm   nn.RMSNorm
	head   *nn.Param // [V, D]; the same as embed where they are tied
}

type decoderLayer struct {
	inputNorm, postNorm nn.RMSNorm
	q, k, v, o          nn.Linear
	qNorm, kNorm        *nn.RMSNorm // Qwen3
	gate, up, down      nn.Linear
}

// decoderPrefix stands before Hugging Face's names of a decoder's parameters.
const decoderPrefix = "decoder."

func newDecoder(d nn.Declarer, c TextConfig, init Init) decoder {
	dec := decoder{config: c, embed: d.Matrix("decoder.model.embed_tokens.weight", c.VocabSize, c.HiddenSize, false, nn.Init{Std: init.Embedding})}
	for i := range c.NumHiddenLayers {
		dec.layers = append(dec.layers, newDecoderLayer(d, c, fmt.Sprintf("decoder.model.layers.%d.", i), init))
	}
	dec.norm = d.RMSNorm("decoder.model.norm", c.HiddenSize, float32(c.RMSNormEps))
	dec.head = dec.embed
	if !c.TieWordEmbeddings {
		dec.head = d.Matrix("decoder.lm_head.weight", c.VocabSize, c.HiddenSize, true, init.linear(c.HiddenSize))
	}
	return dec
}

func newDecoderLayer(d nn.Declarer, c TextConfig, name string, init Init) decoderLayer {
	hidden, inner, eps := c.HiddenSize, c.IntermediateSize, float32(c.RMSNormEps)
	queries, keys := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	// What is added to the residual stream starts smaller, the more layers add.
	residual := func(in int) nn.Init {
		i := init.linear(in)
		i.Std /= math.Sqrt(2 * float64(c.NumHiddenLayers))
		return i
	}
	l := decoderLayer{
		inputNorm: d.RMSNorm(name+"input_layernorm", hidden, eps),
		q:         d.Linear(name+"self_attn.q_proj", hidden, queries, c.AttentionBias, init.linear(hidden)),
		k:         d.Linear(name+"self_attn.k_proj", hidden, keys, c.AttentionBias, init.linear(hidden)),
		v:         d.Linear(name+"self_attn.v_proj", hidden, keys, c.AttentionBias, init.linear(hidden)),
		o:         d.Linear(name+"self_attn.o_proj", queries, hidden, c.AttentionBias, residual(queries)),
		postNorm:  d.RMSNorm(name+"post_attention_layernorm", hidden, eps),
		gate:      d.Linear(name+"mlp.gate_proj", hidden, inner, false, init.linear(hidden)),
		up:        d.Linear(name+"mlp.up_proj", hidden, inner, false, init.linear(hidden)),
		down:      d.Linear(name+"mlp.down_proj", inner, hidden, false, residual(inner)),
	}
	if c.QKNorm() {
		qNorm, kNorm := d.RMSNorm(name+"self_attn.q_norm", c.HeadDim, eps), d.RMSNorm(name+"self_attn.k_norm", c.HeadDim, eps)
		l.qNorm, l.kNorm = &qNorm, &kNorm
	}
	return l
}

// attentionContext is what a layer's attention needs besides the hidden states.
type attentionContext struct {
	rows, tokens int        // B, T
	table        *nn.Tensor // RoPE [positions, head size]
	positions    *nn.Tensor // [B·T]
	intervals    *nn.Tensor // [B·T, 4]
	cache        *Cache     // nil: keys and values are those of the tokens themselves
	count        int        // entry of the step block with the tokens in use; 0 = all
	// watch, where it is set and there is no cache, gets every layer's queries [B,T,H,D]
	// and keys [B,T,K,D] behind RoPE.
	watch func(g *nn.Graph, q, k *nn.Tensor)
}

// forward takes the embeddings [B·T, D] through every layer and the final norm.
func (d *decoder) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	return trace.keep(g, "norm", d.norm.Forward(g, d.hidden(g, x, c, trace)))
}

// hidden takes the embeddings [B·T, D] through every layer.
func (d *decoder) hidden(g *nn.Graph, x *nn.Tensor, c attentionContext, trace Trace) *nn.Tensor {
	for i := range d.layers {
		g.Program.SetLabel(fmt.Sprintf("layers.%d", i))
		x = trace.keep(g, fmt.Sprintf("layer.%d", i), g.Recomputed(x, func(x *nn.Tensor) *nn.Tensor {
			return d.layers[i].forward(g, x, c, d.config, i)
		}))
	}
	g.Program.SetLabel("head")
	return x
}

func (l *decoderLayer) forward(g *nn.Graph, x *nn.Tensor, c attentionContext, config TextConfig, layer int) *nn.Tensor {
	x = l.attention(g, x, c, config, layer)       // x + attention(norm(x)) [B·T, D]
	return l.down.ForwardAdd(g, l.inner(g, x), x) // x + mlp(norm(x))
}

// inner is the activation between the MLP's products: [B·T, FFN].
func (l *decoderLayer) inner(g *nn.Graph, x *nn.Tensor) *nn.Tensor {
	if y, ok := g.NormSwiGLU(l.postNorm, x, l.gate, l.up); ok {
		return y
	}
	h := l.postNorm.Forward(g, x)
	if both, ok := (nn.Stack{l.gate, l.up}).Forward(g, h); ok { // [B·T, 2·FFN]
		return g.SwiGLUStacked(both)
	}
	return g.SwiGLU(l.gate.Forward(g, h), l.up.Forward(g, h))
}

func (l *decoderLayer) attention(g *nn.Graph, x *nn.Tensor, c attentionContext, config TextConfig, layer int) *nn.Tensor {
	heads, d := config.NumAttentionHeads, config.HeadDim
	q, k, v := l.heads(g, x, c, config, layer)
	if c.watch != nil {
		c.watch(g, q, k)
	}
	y := g.Attention(q, k, v, c.intervals).Reshape(c.rows*c.tokens, heads*d)
	return l.o.ForwardAdd(g, y.RowCount(c.count), x)
}

// heads are the queries [B,T,H,D] behind RoPE, and the keys and values [B,T,K,D] or,
// where there is one, the whole cache with the tokens' in it.
func (l *decoderLayer) heads(g *nn.Graph, x *nn.Tensor, c attentionContext, config TextConfig, layer int) (q, k, v *nn.Tensor) {
	s := nn.Heads{
		B: c.rows, T: c.tokens, H: config.NumAttentionHeads, K: config.NumKeyValueHeads, D: config.HeadDim,
		Table: c.table, Positions: c.positions,
	}
	if l.qNorm != nil {
		s.QNorm, s.KNorm, s.Eps = g.Param(l.qNorm.Weight), g.Param(l.kNorm.Weight), l.qNorm.Eps
	}
	if c.cache != nil {
		return l.headsCached(g, x, s, c, layer)
	}
	h := l.inputNorm.Forward(g, x)
	if l.qNorm == nil {
		if all, ok := (nn.Stack{l.q, l.k, l.v}).Forward(g, h); ok { // [B·T, (H+2K)·D]
			return g.RoPESplit(all, s)
		}
	} else if both, ok := (nn.Stack{l.q, l.k}).Forward(g, h); ok { // [B·T, (H+K)·D]
		q, k, _ = g.RoPESplit(both, s)
		return q, k, l.v.Forward(g, h).Reshape(s.B, s.T, s.K, s.D)
	}
	return l.headsApart(g, h, s, c, layer)
}

// headsCached is heads with a cache.
func (l *decoderLayer) headsCached(g *nn.Graph, x *nn.Tensor, s nn.Heads, c attentionContext, layer int) (q, k, v *nn.Tensor) {
	layers := nn.Stack{l.q, l.k, l.v}
	all, ok := layers.ForwardNorm(g, l.inputNorm, x) // [B·T, (H+2K)·D]
	if !ok {
		h := l.inputNorm.Forward(g, x)
		if all, ok = layers.Forward(g, h); !ok {
			return l.headsApart(g, h, s, c, layer)
		}
	}
	k, v = c.cache.tensors(layer)
	return g.RoPESplitInto(all, s, k, v, slotPast), k, v
}

// headsApart is heads where the projections' weights do not adjoin.
func (l *decoderLayer) headsApart(g *nn.Graph, h *nn.Tensor, s nn.Heads, c attentionContext, layer int) (q, k, v *nn.Tensor) {
	q = l.q.Forward(g, h).Reshape(s.B, s.T, s.H, s.D)
	k = l.k.Forward(g, h).Reshape(s.B, s.T, s.K, s.D)
	v = l.v.Forward(g, h).Reshape(s.B, s.T, s.K, s.D)
	if l.qNorm != nil {
		q, k = l.qNorm.Forward(g, q), l.kNorm.Forward(g, k)
	}
	q, k = g.RoPE(q, c.table, c.positions), g.RoPE(k, c.table, c.positions)
	if c.cache != nil {
		k, v = c.cache.append(g, layer, k, v, c.count)
	}
	return q, k, v
}

// Cache holds the keys and values of one sequence, for every layer.
type Cache struct {
	Capacity int // tokens
	buffers  []*engine.Buffer
	shape    []int // [1, capacity, K, D]
}

// newCache describes a cache; engine.Allocate places its buffers.
func newCache(c TextConfig, t shaders.Type, capacity int) *Cache {
	cache := &Cache{Capacity: capacity, shape: []int{1, capacity, c.NumKeyValueHeads, c.HeadDim}}
	bytes := engine.BufferSize(t, capacity*c.NumKeyValueHeads*c.HeadDim)
	for i := range c.NumHiddenLayers {
		cache.buffers = append(cache.buffers,
			engine.NewBuffer(fmt.Sprintf("keys of layer %d", i), bytes), engine.NewBuffer(fmt.Sprintf("values of layer %d", i), bytes))
	}
	for _, b := range cache.buffers {
		b.Type = t
	}
	return cache
}

// append writes the tokens' keys and values, as many as the step block's entry
// count says, behind those already there, where its entry slotPast says, and
// returns the whole cache.
func (c *Cache) append(g *nn.Graph, layer int, k, v *nn.Tensor, count int) (keys, values *nn.Tensor) {
	keys, values = c.tensors(layer)
	width := c.shape[2] * c.shape[3]
	p := shaders.AppendRowsParams{Rows: shaders.Count{Max: uint32(k.Size() / width), Slot: uint32(count)}, Cols: uint32(width), Slot: slotPast}
	g.Program.Dispatch(shaders.AppendRows, p, k.View(), keys.View())
	g.Program.Dispatch(shaders.AppendRows, p, v.View(), values.View())
	return keys, values
}

// tensors are a layer's keys and values, [1,capacity,K,D] each.
func (c *Cache) tensors(layer int) (keys, values *nn.Tensor) {
	return nn.Input(c.buffers[2*layer], c.shape...), nn.Input(c.buffers[2*layer+1], c.shape...)
}

// copyTo copies everything to the beginning of a larger cache.
func (c *Cache) copyTo(ctx context.Context, dev engine.Device, larger *Cache) error {
	program := engine.NewProgram("grow the cache")
	for i, from := range c.buffers {
		// The step block's entry 0 is always 0.
		p := shaders.AppendRowsParams{Rows: shaders.N(1), Cols: uint32(from.Bytes / from.Type.Size())}
		program.Dispatch(shaders.AppendRows, p, from.View(), larger.buffers[i].View())
	}
	return engine.RunOnce(ctx, dev, program)
}
