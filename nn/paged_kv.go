package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// PagedKV is the keys and values of one decoder layer for many sequences, in pages
// [1,pages·PageRows,K,D]. Sequences may share pages.
type PagedKV struct {
	Keys, Values *Tensor
	PageRows     int
	// Write is the row of every token of the call (int32 [T]).
	Write *Tensor
	// Pages are the pages of every sequence (int32 [B, pages]) for calls with one token of each of B
	// sequences; nil for calls with the tokens of one.
	Pages *Tensor
	// Read are the rows of the sequence's tokens (int32 [capacity]), for calls with the tokens of one.
	// UsedSlot is the step block entry with the number of them to read.
	Read     *Tensor
	UsedSlot int
}

// NewPagedKV is a cache of rows tokens with K heads of D columns in two buffers.
func NewPagedKV(keys, values *engine.Buffer, rows, k, d int) PagedKV {
	return PagedKV{Keys: Input(keys, 1, rows, k, d), Values: Input(values, 1, rows, k, d)}
}

// ForwardPaged is Forward that writes the keys and values to the rows of a cache and returns the queries,
// [B,T,H,D].
func (l NormQKV) ForwardPaged(g *Graph, x *Tensor, rope RoPE, cache PagedKV) (q *Tensor) {
	layout := l.layout(g, rope)
	var k, v *Tensor
	if w, b, ok := l.fused(g); ok {
		q, k, v = g.SplitQKVRoPE(l.Norm.linear(g, x, w, b), layout)
	} else {
		q, k, v = l.forwardSeparate(g, l.Norm.Forward(g, x), layout)
	}
	g.writePages(cache, k, v, x.rows())
	return q
}

// RotatePaged is ForwardPaged after the projections.
func (l NormQKV) RotatePaged(g *Graph, q, k, v *Tensor, rope RoPE, cache PagedKV) *Tensor {
	rows := q.rows()
	q, k, v = l.Rotate(g, q, k, v, rope)
	g.writePages(cache, k, v, rows)
	return q
}

// writePages writes keys and values to their rows of the cache.
func (g *Graph) writePages(cache PagedKV, k, v *Tensor, rows shaders.Count) {
	for _, pair := range [][2]*Tensor{{k, cache.Keys}, {v, cache.Values}} {
		g.moveRows(shaders.ScatterRows, cache.Write, pair[0].View(), pair[1].View(), rows, k.Size()/int(rows.Max))
	}
}

// moveRows gathers or scatters rows of cols elements. Two types of 16 bits are converted by way of 32.
func (g *Graph) moveRows(kernel *shaders.Kernel, index *Tensor, x, y engine.View, rows shaders.Count, cols int) {
	if from, to := x.Buffer.Type, y.Buffer.Type; from.Half() && to.Half() && from != to {
		floats := g.temporary(shaders.F32, x.Buffer.Label, int(rows.Max)*cols)
		g.moveRows(kernel, index, x, floats, rows, cols)
		x = floats
	}
	g.record(kernel, shaders.GatherRowsParams{Rows: rows, Cols: uint32(cols)}, index.View(), x, y)
}

// AttentionPaged is Attention of q [1,B,H,D], one token of each of B sequences, over a cache; intervals
// (int32 [B,4]) count the sequence's tokens.
func (g *Graph) AttentionPaged(q *Tensor, cache PagedKV, intervals *Tensor, scale float64) *Tensor {
	batch, heads, d := q.Shape[1], q.Shape[2], q.Shape[3]
	pages := cache.Pages.Size() / batch
	check(q.Shape[0] == 1 && intervals.Size() == 4*batch, "attention over pages", "q [1,B,H,D] and intervals [B,4]", q, intervals)
	check(cache.Keys.storedAs() == g.Type, "attention over pages", "keys and values of the recording's type", cache.Keys)
	p := shaders.AttentionPagedParams{
		Batch: uint32(batch), Queries: 1, Keys: uint32(pages * cache.PageRows), Heads: uint32(heads),
		KVHeads: uint32(cache.Keys.Shape[2]), HeadDim: uint32(d), PageRows: uint32(cache.PageRows), Scale: float32(scale),
	}
	y, lse := g.newLike(q, "attention", q.Shape...), g.NewFloat32("lse", batch, heads)
	g.record(shaders.AttentionPaged, p, q.View(), cache.Keys.View(), cache.Values.View(), intervals.View(), cache.Pages.View(), y.View(), lse.View())
	return y
}

// ReadPages copies a sequence's keys and values to one piece each, [1,capacity,K,D], for Attention of its
// tokens.
func (g *Graph) ReadPages(c PagedKV) (keys, values *Tensor) {
	read := func(t *Tensor) *Tensor {
		y := g.New(t.Name(), 1, c.Read.Size(), t.Shape[2], t.Shape[3])
		g.moveRows(shaders.GatherRows, c.Read, t.View(), y.View(), shaders.Count{Max: uint32(c.Read.Size()), Slot: uint32(c.UsedSlot)}, t.Shape[2]*t.Shape[3])
		return y
	}
	return read(c.Keys), read(c.Values)
}
