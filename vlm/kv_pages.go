package vlm

import (
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// PageRows are the tokens of a page of a PagedCache.
const PageRows = 64

// PagedCache holds the keys and values of many sequences, for every layer, in pages of PageRows tokens
// that sequences may share. Layers with a window keep all tokens.
type PagedCache struct {
	Pages   int
	Buffers []*engine.Buffer
	layers  []LayerConfig
}

// NewPagedCache describes a model's cache; engine.Allocate allocates its buffers. Keys and values are
// stored in the type of activations.
func NewPagedCache(m *Model, pages int) (*PagedCache, error) {
	t, ok := shaders.ParseType(m.CacheName())
	if !ok || t != m.Storage() {
		return nil, fmt.Errorf("keys and values of several conversations are stored as activations are, %s, not as %s", m.Storage(), m.CacheName())
	}
	c := &PagedCache{Pages: pages}
	for i := range m.Config.Text.NumHiddenLayers {
		l := m.Config.Text.Layer(i)
		c.layers = append(c.layers, l)
		for _, name := range []string{"keys", "values"} {
			b := engine.NewBuffer(fmt.Sprintf("%s of layer %d", name, i), engine.BufferSize(t, pages*PageRows*l.KVHeads*l.HeadDim))
			b.Type = t
			c.Buffers = append(c.Buffers, b)
		}
	}
	return c, nil
}

// Clear zeroes pages.
func (c *PagedCache) Clear(dev engine.Device, pages []int) error {
	var err error
	for _, b := range c.Buffers {
		size := b.Bytes / int64(c.Pages)
		zeros := make([]byte, size)
		for _, page := range pages {
			memory, at := b.Placed()
			err = errors.Join(err, dev.Write(memory, at+int64(page)*size, zeros))
		}
	}
	return err
}

// PagedInputs are the inputs of a call with one token of each of some sequences, or with some tokens of
// one.
type PagedInputs struct {
	Tokens     int        // T, the capacity of the call
	IDs, Slots *nn.Tensor // [T]
	Positions  *nn.Tensor // [1, T]
	Write      *nn.Tensor // [T], the rows of the cache that they take
	Features   *nn.Tensor // [N, D], the vectors of the image slots; nil = no images
	Cache      *PagedCache
	Pages      *nn.Tensor // [T, n], of every sequence; nil for a call with tokens of one
	Read       *nn.Tensor // [n], the rows of the one sequence's tokens
	Last       *nn.Tensor // [1], the token of the one sequence whose logits are computed
	Observe    Observer   // of every layer, in a call with tokens of one sequence; nil: none

	// ImageTokens and OtherTokens are those of CachedInputs, in a call with tokens of one sequence.
	ImageTokens, OtherTokens *nn.Tensor

	// By kind of attention: [T, 4] and [positions, head size].
	Intervals, RoPE []*nn.Tensor
}

func (in *PagedInputs) layer(i int) nn.PagedKV {
	l := in.Cache.layers[i]
	kv := nn.NewPagedKV(in.Cache.Buffers[2*i], in.Cache.Buffers[2*i+1], in.Cache.Pages*PageRows, l.KVHeads, l.HeadDim)
	kv.PageRows, kv.Write, kv.Pages, kv.Read, kv.UsedSlot = PageRows, in.Write, in.Pages, in.Read, SlotUsed
	return kv
}

// PagedLogits records a call of up to in.Tokens tokens, as SlotTokens of the step block says, and the logits
// of every sequence's token, as nn.LogitRows' [T, V], or of one token of the one sequence, [1, V].
func (m *Model) PagedLogits(g *nn.Graph, in PagedInputs) *nn.Tensor {
	x := g.Embed(nn.TokenIndex{IDs: in.IDs, Slots: in.Slots}, g.Param(m.decoder.embed), in.Features, m.Config.Text.EmbeddingScale())
	c := attentionContext{paged: &in, observe: in.Observe}
	for i, table := range in.RoPE {
		c.kinds = append(c.kinds, kindContext{nn.RoPE{Table: table, Positions: in.Positions}, in.Intervals[i]})
	}
	if in.Tokens > 1 {
		c.countSlot = SlotTokens
	}
	if in.ImageTokens != nil {
		c.subsets = newTokenSubsets(in.ImageTokens, in.OtherTokens)
	}
	x = m.decoder.hidden(g, x.RowCount(c.countSlot), c, nil)
	if in.Pages == nil && in.Tokens > 1 {
		x = g.GatherRows(x, in.Last, 1)
	}
	if x.Shape[0] == 1 {
		return m.capped(g, g.NormLogits(m.decoder.norm, x, g.Param(m.decoder.head)))
	}
	return m.capped(g, g.LogitRows(m.decoder.norm.Forward(g, x), g.Param(m.decoder.head)))
}
