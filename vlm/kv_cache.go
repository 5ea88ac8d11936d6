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

// layer is one layer's part of the cache.
func (c *Cache) layer(i int) nn.KVCache {
	return nn.KVCache{Keys: nn.Input(c.buffers[2*i], c.shape...), Values: nn.Input(c.buffers[2*i+1], c.shape...), PastSlot: slotPast}
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
