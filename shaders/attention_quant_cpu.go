package shaders

import (
	"patchwork/shaders/quant"
	"patchwork/shaders/quant/simd"
	f32 "patchwork/shaders/simd"
)

// quantKeys is the number of rows of keys or values that are decoded at once, to stay in the
// first-level cache.
const quantKeys = 64

// attentionQuantCPU decodes the rows of a head where they are used: for the few queries of
// decoding once for all heads that share them, as in attentionNarrowCPU, otherwise once for
// every tile of queries.
func attentionQuantCPU(h Host, p AttentionParams, b Buffers) {
	q := quantAttention{
		narrowAttention: narrowAttention{
			attention: attention{
				batch: int(p.Batch), tq: int(p.Queries), tk: int(p.Keys), heads: int(p.Heads), kv: int(p.KVHeads), d: int(p.HeadDim),
				scale: p.Scale, q: b.F32(0), intervals: b.I32(3),
			},
			group: int(p.Heads / p.KVHeads),
		},
		keys: b[1], values: b[2], row: QuantRowBytes(int(p.KVHeads * p.HeadDim)),
	}
	y, lse := b.F32(4), b.F32(5)
	if q.tq <= narrowQueries {
		q.inUnits(h, func(row int, keys interval, to narrowResult) { q.unit(h, row, keys, to) }, func(at int, merge func(out []float32) float32) {
			lse[at] = merge(y[at*q.d:][:q.d])
		})
		return
	}
	q.tiles(h, y, lse)
}

// quantAttention is attention over keys and values in blocks.
type quantAttention struct {
	narrowAttention
	keys, values []byte
	row          int // bytes of a token
}

// eachBlock calls f with the rows [lo,hi) of a head, decoded to [hi-lo,D], for all of a range of
// keys of a row of the batch. rows has quantKeys·D values.
func (q *quantAttention) eachBlock(from []byte, batch, head int, keys interval, rows []float32, f func(lo, n int)) {
	for lo := keys.lo; lo < keys.hi; lo += quantKeys {
		n := min(quantKeys, keys.hi-lo)
		at := (batch*q.tk+lo)*q.row + quant.Q8_0.Bytes(head*q.d)
		simd.DecodeRows(quant.Q8_0, rows, q.d, from[at:], q.row, n, q.d)
		f(lo, n)
	}
}

// unit computes the result of one query's group of heads for a unit of keys.
func (q *quantAttention) unit(h Host, row int, keys interval, to narrowResult) {
	query, head := row/q.kv, row%q.kv
	visible, width := q.visibleIn(query, keys)
	clear(to.sum)
	if width == 0 {
		return
	}
	buffer, release := h.Scratch(q.group*width + quantKeys*q.d)
	defer release()
	scores, rows := buffer[:q.group*width], buffer[q.group*width:]
	g := Gemm{TransB: true, M: q.group, K: q.d, Alpha: q.scale, A: q.q[row*q.group*q.d:], LDA: q.d, B: rows, LDB: q.d, LDC: width}
	col := 0
	for _, r := range visible {
		q.eachBlock(q.keys, query/q.tq, head, r, rows, func(_, n int) {
			g.N, g.C = n, scores[col:]
			h.GemmSerial(g)
			col += n
		})
	}
	for i := range q.group {
		row := scores[i*width:][:width]
		to.max[i] = f32.Max(row)
		to.sum[i] = float32(f32.ExpSum(row, row, to.max[i]))
	}
	g = Gemm{M: q.group, N: q.d, Alpha: 1, LDA: width, B: rows, LDB: q.d, C: to.out, LDC: q.d}
	col = 0
	for _, r := range visible {
		q.eachBlock(q.values, query/q.tq, head, r, rows, func(_, n int) {
			g.K, g.A = n, scores[col:]
			h.GemmSerial(g)
			col, g.Beta = col+n, 1
		})
	}
}

// tiles computes tiles of queries of a head.
func (q *quantAttention) tiles(h Host, y, lse []float32) {
	tiles := (q.tq + attentionTile - 1) / attentionTile
	h.Parallel(q.batch*q.heads*tiles, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			t0 := i % tiles * attentionTile
			t := q.tile(i/tiles/q.heads, i/tiles%q.heads, t0, min(t0+attentionTile, q.tq))
			q.attend(h, &t, y, lse)
		}
	})
}

func (q *quantAttention) attend(h Host, t *attentionTileArgs, y, lse []float32) {
	buffer, release := h.Scratch(t.rows()*t.width + quantKeys*q.d)
	defer release()
	scores, rows, head := buffer[:t.rows()*t.width], buffer[t.rows()*t.width:], t.head/q.group
	g := Gemm{TransB: true, M: t.rows(), K: q.d, Alpha: q.scale, A: q.q[t.queryAt():], LDA: q.heads * q.d, B: rows, LDB: q.d, LDC: t.width}
	t.eachRange(func(keys interval, col int) {
		q.eachBlock(q.keys, t.b, head, keys, rows, func(lo, n int) {
			g.N, g.C = n, scores[col+lo-keys.lo:]
			h.GemmSerial(g)
		})
	})
	for r := range t.rows() {
		lse[t.row(r)*q.heads+t.head] = t.softmax(scores, r)
	}
	g = Gemm{M: t.rows(), N: q.d, Alpha: 1, A: scores, LDA: t.width, B: rows, LDB: q.d, C: y[t.queryAt():], LDC: q.heads * q.d}
	if t.width == 0 {
		g.LDA = 1
		h.GemmSerial(g)
		return
	}
	t.eachRange(func(keys interval, col int) {
		q.eachBlock(q.values, t.b, head, keys, rows, func(lo, n int) {
			g.K, g.A = n, scores[col+lo-keys.lo:]
			h.GemmSerial(g)
			g.Beta = 1
		})
	})
}
