package nn

import "patchwork/shaders"

// KVCache is the keys and values of one decoder layer that are kept from one call to the
// next, [1,capacity,K,D] each.
type KVCache struct {
	Keys, Values *Tensor
	PastSlot     int // step block entry with the number of tokens in the cache before the call
}

// appendKV writes the keys and values of rows tokens after those in the cache.
func (g *Graph) appendKV(c KVCache, k, v *Tensor, rows shaders.Count) {
	p := shaders.AppendRowsParams{Rows: rows, Cols: uint32(k.Size() / int(rows.Max)), Slot: uint32(c.PastSlot)}
	g.record(shaders.AppendRows, p, k.View(), c.Keys.View())
	g.record(shaders.AppendRows, p, v.View(), c.Values.View())
}
