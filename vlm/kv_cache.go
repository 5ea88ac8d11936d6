package vlm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// CacheType is how keys and values are stored on a device: CacheAuto, a float type by its name, or
// CacheQ8.
type CacheType string

const (
	CacheAuto CacheType = "auto" // in the type of activations; so is the zero CacheType
	// CacheQ8 rounds to 8 bits: 34 bytes for 32 values. Heads must be a multiple of 32.
	CacheQ8 CacheType = "q8_0"
)

// CacheTypes are the values of CacheType.
var CacheTypes = []string{string(CacheAuto), shaders.F32.String(), shaders.BF16.String(), shaders.F16.String(), string(CacheQ8)}

// StoreCache sets how keys and values are stored. Allocate returns an error for a model whose heads
// do not fit.
func (m *Model) StoreCache(t CacheType) { m.cacheType = t }

// CacheName is the name of the type that keys and values are stored in: "q8_0".
func (m *Model) CacheName() string {
	switch m.cacheType {
	case "", CacheAuto:
		return m.Storage().String()
	}
	return string(m.cacheType)
}

// checkCache returns an error for keys and values that cannot be stored in their type.
func (m *Model) checkCache() error {
	if m.cacheType != "" && !slices.Contains(CacheTypes, string(m.cacheType)) {
		return fmt.Errorf("keys and values cannot be stored as %q, want one of %s", m.cacheType, strings.Join(CacheTypes, ", "))
	}
	for _, kind := range m.Config.Text.AttentionKinds() {
		if d := kind.HeadDim; m.cacheType == CacheQ8 && d%32 != 0 {
			return fmt.Errorf("keys and values in %s need heads of a multiple of 32 columns, this model's have %d; store them as f16", CacheQ8, d)
		}
	}
	return nil
}

// Cache holds the keys and values of one sequence, for every layer.
type Cache struct {
	Capacity int // tokens
	Buffers  []*engine.Buffer
	layers   []LayerConfig
}

// NewCache describes a model's cache; engine.Allocate allocates its buffers.
func NewCache(m *Model, capacity int) *Cache {
	c := m.Config.Text
	cache := &Cache{Capacity: capacity}
	t, floats := shaders.ParseType(m.CacheName())
	if !floats {
		t = shaders.U32 // 8 bits
	}
	for i := range c.NumHiddenLayers {
		l := c.Layer(i)
		cache.layers = append(cache.layers, l)
		bytes := int64(capacity * shaders.QuantRowBytes(l.KVHeads*l.HeadDim))
		if floats {
			bytes = engine.BufferSize(t, capacity*l.KVHeads*l.HeadDim)
		}
		cache.Buffers = append(cache.Buffers,
			engine.NewBuffer(fmt.Sprintf("keys of layer %d", i), bytes), engine.NewBuffer(fmt.Sprintf("values of layer %d", i), bytes))
	}
	for _, b := range cache.Buffers {
		b.Type = t
	}
	return cache
}

// SetStep sets the entries of the step block for a pass of tokens after past ones in the cache.
func (c *Cache) SetStep(step *[shaders.StepWords]uint32, past, tokens int) {
	// What attention reads of the keys after those in use must be finite.
	const tile = 256
	used := min(c.Capacity, (past+tokens+tile-1)/tile*tile)
	step[SlotPast], step[SlotTokens], step[SlotUsed] = uint32(past), uint32(tokens), uint32(used)
}

// layer returns the cache of one layer.
func (c *Cache) layer(i int) nn.KVCache {
	l := nn.NewKVCache(c.Buffers[2*i], c.Buffers[2*i+1], c.Capacity, c.layers[i].KVHeads, c.layers[i].HeadDim)
	l.PastSlot, l.UsedSlot = SlotPast, SlotUsed
	return l
}

// CopyTo copies all keys and values to the start of a larger cache of the same type.
func (c *Cache) CopyTo(ctx context.Context, dev engine.Device, larger *Cache) error {
	if c.Buffers[0].Type == shaders.U32 {
		return c.copyBlocks(dev, larger)
	}
	program := engine.NewProgram("grow the cache")
	for i, from := range c.Buffers {
		// The step block's entry 0 is always 0.
		p := shaders.AppendRowsParams{Rows: shaders.N(1), Cols: uint32(from.Bytes / from.Type.Size())}
		program.Dispatch(shaders.AppendRows, p, from.View(), larger.Buffers[i].View())
	}
	return engine.RunOnce(ctx, dev, program)
}

// copyBlocks is CopyTo by way of the host: kernels that copy floats need not keep other bits.
func (c *Cache) copyBlocks(dev engine.Device, larger *Cache) error {
	words := make([]uint32, c.Buffers[0].Bytes/4)
	for i, from := range c.Buffers {
		if err := engine.Download(dev, from.View(), words); err != nil {
			return err
		}
		if err := engine.Upload(dev, larger.Buffers[i].View().Slice(0, from.Bytes), words); err != nil {
			return err
		}
	}
	return nil
}

// CachedInputs are the inputs of a pass of tokens that follow those in a cache.
type CachedInputs struct {
	Tokens     int        // T, the capacity of the pass
	IDs, Slots *nn.Tensor // [T]
	Positions  *nn.Tensor // [1, T]
	Last       *nn.Tensor // [1], the row of the logits; nil if T is 1
	Features   *nn.Tensor // [N, D], the vectors of the image slots; nil = no images
	Cache      *Cache

	// By kind of attention: [T, 4] and [positions, head size].
	Intervals, RoPE []*nn.Tensor
}

// NextLogits records a pass of up to in.Tokens tokens that follow those in the cache, and the
// logits of the last one, [1, V]. Cache.SetStep sets the entries of the step block that it reads.
func (m *Model) NextLogits(g *nn.Graph, in CachedInputs) *nn.Tensor {
	x := g.Embed(nn.TokenIndex{IDs: in.IDs, Slots: in.Slots}, g.Param(m.decoder.embed), in.Features, m.Config.Text.EmbeddingScale())
	c := attentionContext{cache: in.Cache}
	for i, table := range in.RoPE {
		c.kinds = append(c.kinds, kindContext{nn.RoPE{Table: table, Positions: in.Positions}, in.Intervals[i]})
	}
	if in.Tokens > 1 {
		c.countSlot = SlotTokens
	}
	x = m.decoder.hidden(g, x.RowCount(c.countSlot), c, nil)
	if in.Tokens > 1 {
		x = g.GatherRows(x, in.Last, 1)
	}
	return m.capped(g, g.NormLogits(m.decoder.norm, x, g.Param(m.decoder.head)))
}
