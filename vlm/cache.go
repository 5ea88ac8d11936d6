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
	buffers  []*engine.Buffer
	shape    []int // [1, capacity, K, D]
}

// newCache describes a cache; engine.Allocate places its buffers.
func newCache(c TextConfig, t shaders.Type, capacity int) *Cache {
	cache := &Cache{Capacity: capacity, shape: []int{1, capacity, c.NumKeyValueHeads, c.HeadDim}}
	bytes := engine.Room(t, capacity*c.NumKeyValueHeads*c.HeadDim)
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

// CachedInputs are the tensors of a pass that takes tokens through the decoder, behind those
// in a cache.
type CachedInputs struct {
	Tokens               int        // T, the size of the pass
	IDs, Slots           *nn.Tensor // [T]
	Positions, Intervals *nn.Tensor // [T], [T, 4]
	Last                 *nn.Tensor // [1], the row whose logits are wanted; nil where T is 1
	Features             *nn.Tensor // [N, D], what image slots count; nil = no images
	RoPE                 *nn.Tensor // [positions, head size]
	Cache                *Cache
}

// NextLogits records a pass of up to in.Tokens tokens behind those in the cache, to the logits
// behind the last of them: [1, V]. The step block's SlotPast says how many the cache holds and,
// where Tokens is above 1, SlotTokens how many this pass takes.
func (m *Model) NextLogits(g *nn.Graph, in CachedInputs) *nn.Tensor {
	x := g.Embed(nn.TokenIndex{IDs: in.IDs, Slots: in.Slots}, g.Param(m.decoder.embed), in.Features)
	c := attentionContext{rows: 1, tokens: in.Tokens, table: in.RoPE, positions: in.Positions, intervals: in.Intervals, cache: in.Cache}
	if in.Tokens > 1 {
		c.count = slotTokens
	}
	x = m.decoder.hidden(g, x.RowCount(c.count), c, nil)
	if in.Tokens > 1 {
		x = g.GatherRows(x, in.Last, 1)
	}
	return g.NormLogits(m.decoder.norm, x, g.Param(m.decoder.head))
}
