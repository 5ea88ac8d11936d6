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

// Cache holds the keys and values of one sequence, for every layer. Layers with a window keep only
// the last tokens, in a ring.
type Cache struct {
	Capacity int // tokens
	Buffers  []*engine.Buffer
	layers   []LayerConfig
	kinds    []AttentionKind
	rows     []int // of the cache of a layer of each kind of attention
	end      int   // tokens that have been written, since the first was written last
}

// ringStep is the granularity of a ring's rows, in tokens.
const ringStep = 64

// NewCache describes a model's cache for passes of up to the given number of tokens;
// engine.Allocate allocates its buffers.
func NewCache(m *Model, capacity, pass int) *Cache {
	c := m.Config.Text
	cache := &Cache{Capacity: capacity, kinds: c.AttentionKinds()}
	for _, kind := range cache.kinds {
		rows := capacity
		if kind.Window > 0 { // the first token of a pass sees a window of keys while the last is written
			rows = min(rows, (kind.Window+pass+ringStep-1)/ringStep*ringStep)
		}
		cache.rows = append(cache.rows, rows)
	}
	t, floats := shaders.ParseType(m.CacheName())
	if !floats {
		t = shaders.U32 // 8 bits
	}
	for i := range c.NumHiddenLayers {
		l := c.Layer(i)
		cache.layers = append(cache.layers, l)
		rows := cache.rows[l.Attention]
		bytes := int64(rows * shaders.QuantRowBytes(l.KVHeads*l.HeadDim))
		if floats {
			bytes = engine.BufferSize(t, rows*l.KVHeads*l.HeadDim)
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
	if past == 0 {
		c.end = 0
	}
	c.end = max(c.end, past+tokens)
	step[SlotPast], step[SlotTokens], step[SlotUsed] = uint32(past), uint32(tokens), uint32(used)
}

// layer returns the cache of one layer.
func (c *Cache) layer(i int) nn.KVCache {
	kind := c.layers[i].Attention
	l := nn.NewKVCache(c.Buffers[2*i], c.Buffers[2*i+1], c.rows[kind], c.layers[i].KVHeads, c.layers[i].HeadDim)
	l.PastSlot, l.UsedSlot, l.Ring = SlotPast, SlotUsed, c.rows[kind] < c.Capacity
	return l
}

// Reusable returns how many of the first tokens of the sequence in the cache can stay there if it
// continues otherwise after them: all, or none where a ring has lost keys that the next token sees.
func (c *Cache) Reusable(tokens int) int {
	for i, kind := range c.kinds {
		if lost := c.end - c.rows[i]; kind.Window > 0 && lost > 0 && tokens-kind.Window+1 < lost {
			return 0
		}
	}
	return tokens
}

// Intervals are the rows of the cache that tokens attend to in layers of a kind of attention, [n,4],
// given the keys of a batch that follows first others in the cache. A ring's own interval may be in
// two parts: none of the tokens has a prefix.
func (c *Cache) Intervals(kind int, intervals, positions []int32, first int) []int32 {
	out, rows := c.kinds[kind].Intervals(intervals, positions, len(positions), first), int32(c.rows[kind])
	if int(rows) == c.Capacity {
		return out
	}
	out = slices.Clone(out)
	for i := range positions {
		lo, hi := out[4*i+2], out[4*i+3]
		if hi <= lo {
			continue
		}
		from, to := lo%rows, (hi-1)%rows+1
		if from < to {
			copy(out[4*i:], []int32{0, 0, from, to})
		} else {
			copy(out[4*i:], []int32{0, to, from, rows})
		}
	}
	return out
}

// CopyTo copies all keys and values to the start of a larger cache of the same type.
func (c *Cache) CopyTo(ctx context.Context, dev engine.Device, larger *Cache) error {
	larger.end = c.end
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

	// ImageTokens and OtherTokens [T] are which tokens of the pass are image patches, as many as
	// SlotPatches gives, and which are not (SlotOthers). They are read by models with image experts, in
	// passes that may have images; nil = this has none.
	ImageTokens, OtherTokens *nn.Tensor

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
	if in.ImageTokens != nil {
		c.subsets = newTokenSubsets(in.ImageTokens, in.OtherTokens)
	}
	x = m.decoder.hidden(g, x.RowCount(c.countSlot), c, nil)
	if in.Tokens > 1 {
		x = g.GatherRows(x, in.Last, 1)
	}
	return m.capped(g, g.NormLogits(m.decoder.norm, x, g.Param(m.decoder.head)))
}
