package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// KVCache is the keys and values of one decoder layer that are kept from one call to the
// next, [1,capacity,K,D] each. They are stored in the type of their buffer; U32 is 8 bits, in
// rows of shaders.QuantRowBytes for each token.
type KVCache struct {
	Keys, Values *Tensor
	PastSlot     int // step block entry with the number of tokens in the cache before the call
	// UsedSlot is the step block entry with the number of tokens in the cache after the call, or
	// more. It is read where keys and values of another type than the recording's are converted.
	UsedSlot int
	// Ring: after the last of the capacity's rows the first is written again.
	Ring bool
}

// ring is the number of rows of a cache that is a ring; 0 for one that is none.
func (c KVCache) ring() uint32 {
	if !c.Ring {
		return 0
	}
	return uint32(c.Keys.Shape[1])
}

// NewKVCache is a cache of capacity tokens with K heads of D columns in two buffers.
func NewKVCache(keys, values *engine.Buffer, capacity, k, d int) KVCache {
	c := KVCache{Keys: Input(keys, 1, capacity, k, d), Values: Input(values, 1, capacity, k, d)}
	if keys.Type == shaders.U32 {
		format := quant.Q8_0
		c.Keys.node.format, c.Values.node.format = &format, &format
	}
	return c
}

// storedAs is the type in which a tensor's elements are stored.
func (t *Tensor) storedAs() shaders.Type { return t.node.view.Buffer.Type }

// appendKV writes the keys and values of rows tokens after those in the cache.
func (g *Graph) appendKV(c KVCache, k, v *Tensor, rows shaders.Count) {
	cols := k.Size() / int(rows.Max)
	for _, pair := range [][2]*Tensor{{k, c.Keys}, {v, c.Values}} {
		from, to := pair[0], pair[1]
		if to.node.format != nil {
			check(cols%32 == 0, "append to a cache in 8 bits", "tokens of a multiple of 32 keys", from)
			p := shaders.AppendQuantParams{Rows: rows, Cols: uint32(cols), Slot: uint32(c.PastSlot), Ring: c.ring()}
			g.record(shaders.AppendQuant, p, from.View(), to.View())
			continue
		}
		g.copyRows(from.View(), to.View(), rows, cols, c.PastSlot, c.ring())
	}
}

// copyRows copies rows of cols elements to the row of y that the step block's entry slot
// gives, and those after it, in a ring of rows unless that is 0. Two types of 16 bits are converted by way of 32.
func (g *Graph) copyRows(x, y engine.View, rows shaders.Count, cols, slot int, ring uint32) {
	if from, to := x.Buffer.Type, y.Buffer.Type; from.Half() && to.Half() && from != to {
		floats := g.temporary(shaders.F32, x.Buffer.Label, int(rows.Max)*cols)
		g.copyRows(x, floats, rows, cols, 0, 0)
		x = floats
	}
	g.record(shaders.AppendRows, shaders.AppendRowsParams{Rows: rows, Cols: uint32(cols), Slot: uint32(slot), Ring: ring}, x, y)
}

// readCache returns the keys and values as Attention reads them: floats of another type than the
// recording's are converted, one layer's at a time.
func (g *Graph) readCache(c KVCache) (keys, values *Tensor) {
	read := func(t *Tensor) *Tensor {
		if t.node.format != nil || t.storedAs() == g.Type {
			return t
		}
		check(c.UsedSlot != 0, "key/value cache", "the number of tokens in use, to convert them", t)
		tokens, cols := t.Shape[1], t.Shape[2]*t.Shape[3]
		converted := g.New(t.Name(), t.Shape...)
		g.copyRows(t.View(), converted.View(), shaders.Count{Max: uint32(tokens), Slot: uint32(c.UsedSlot)}, cols, 0, 0)
		return converted
	}
	return read(c.Keys), read(c.Values)
}
