package vlm

import (
	"context"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// Cache holds the keys and values of one sequence, for every layer.
type Cache struct {
	Capacity int // tokens
	Buffers  []*engine.Buffer
	shape    []int // [1, capacity, K, D]
}

// NewCache describes a cache; engine.Allocate allocates its buffers.
func NewCache(c TextConfig, t shaders.Type, capacity int) *Cache {
	cache := &Cache{Capacity: capacity, shape: []int{1, capacity, c.NumKeyValueHeads, c.HeadDim}}
	bytes := engine.BufferSize(t, capacity*c.NumKeyValueHeads*c.HeadDim)
	for i := range c.NumHiddenLayers {
		cache.Buffers = append(cache.Buffers,
			engine.NewBuffer(fmt.Sprintf("keys of layer %d", i), bytes), engine.NewBuffer(fmt.Sprintf("values of layer %d", i), bytes))
	}
	for _, b := range cache.Buffers {
		b.Type = t
	}
	return cache
}

// layer returns the cache of one layer.
func (c *Cache) layer(i int) nn.KVCache {
	return nn.KVCache{Keys: nn.Input(c.Buffers[2*i], c.shape...), Values: nn.Input(c.Buffers[2*i+1], c.shape...), PastSlot: SlotPast}
}

// CopyTo copies all keys and values to the start of a larger cache.
func (c *Cache) CopyTo(ctx context.Context, dev engine.Device, larger *Cache) error {
	program := engine.NewProgram("grow the cache")
	for i, from := range c.Buffers {
		// The step block's entry 0 is always 0.
		p := shaders.AppendRowsParams{Rows: shaders.N(1), Cols: uint32(from.Bytes / from.Type.Size())}
		program.Dispatch(shaders.AppendRows, p, from.View(), larger.Buffers[i].View())
	}
	return engine.RunOnce(ctx, dev, program)
}

// CachedInputs are the inputs of a pass of tokens that follow those in a cache.
type CachedInputs struct {
	Tokens               int        // T, the capacity of the pass
	IDs, Slots           *nn.Tensor // [T]
	Positions, Intervals *nn.Tensor // [1, T], [T, 4]
	Last                 *nn.Tensor // [1], the row of the logits; nil if T is 1
	Features             *nn.Tensor // [N, D], the vectors of the image slots; nil = no images
	RoPE                 *nn.Tensor // [positions, head size]
	Cache                *Cache
}

// NextLogits records a pass of up to in.Tokens tokens that follow those in the cache, and the
// logits of the last one, [1, V]. SlotPast of the step block is the number of tokens in the cache;
// if Tokens is above 1, SlotTokens is the number of tokens of the pass.
func (m *Model) NextLogits(g *nn.Graph, in CachedInputs) *nn.Tensor {
	x := g.Embed(nn.TokenIndex{IDs: in.IDs, Slots: in.Slots}, g.Param(m.decoder.embed), in.Features)
	c := attentionContext{rope: nn.RoPE{Table: in.RoPE, Positions: in.Positions}, intervals: in.Intervals, cache: in.Cache}
	if in.Tokens > 1 {
		c.countSlot = SlotTokens
	}
	x = m.decoder.hidden(g, x.RowCount(c.countSlot), c, nil)
	if in.Tokens > 1 {
		x = g.GatherRows(x, in.Last, 1)
	}
	return g.NormLogits(m.decoder.norm, x, g.Param(m.decoder.head))
}
