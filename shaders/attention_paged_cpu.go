package shaders

import "patchwork/shaders/simd"

// pagedAttention is attention over pages, in units of keys as in attentionNarrowCPU.
type pagedAttention struct {
	narrowAttention
	pages    []int32
	pageRows int
}

func newPagedAttention(p AttentionPagedParams, intervals, pages []int32) pagedAttention {
	a := pagedAttention{pages: pages, pageRows: int(p.PageRows)}
	a.attention = attention{
		batch: int(p.Batch), tq: int(p.Queries), tk: int(p.Keys), heads: int(p.Heads), kv: int(p.KVHeads), d: int(p.HeadDim),
		scale: p.Scale, intervals: intervals,
	}
	a.group = int(p.Heads / p.KVHeads)
	return a
}

func attentionPagedCPU(h Host, p AttentionPagedParams, b Buffers) {
	a := newPagedAttention(p, b.I32(3), b.I32(4))
	q, k, v, y, lse := b.F32(0), b.F32(1), b.F32(2), b.F32(5), b.F32(6)
	size, stride := a.group*a.d, a.kv*a.d
	a.inUnits(h, func(row int, keys interval, to narrowResult) {
		a.unit(h, row, keys, to, q[row*size:][:size],
			func(at, _ int) ([]float32, int) { return k[at:], stride },
			func(at, _ int) ([]float32, int) { return v[at:], stride })
	}, func(at int, merge func(out []float32) float32) { lse[at] = merge(y[at*a.d:][:a.d]) })
}

// attentionPagedNarrowCPU converts the rows of a head where they are used, a page's at a time.
func attentionPagedNarrowCPU(h Host, p AttentionPagedParams, b Buffers, s Storage) bool {
	a := newPagedAttention(p, b.I32(3), b.I32(4))
	f, q, k, v, y, lse := s.Type.Format(), b.U16(0), b.U16(1), b.U16(2), b.U16(5), b.F32(6)
	size, stride, out := a.group*a.d, a.kv*a.d, make([]float32, a.d)
	a.inUnits(h, func(row int, keys interval, to narrowResult) {
		buffer, release := h.Scratch(size + a.pageRows*a.d)
		defer release()
		queries, rows := buffer[:size], buffer[size:]
		simd.Unpack(f, queries, q[row*size:][:size])
		unpack := func(from []uint16, n int) ([]float32, int) {
			for i := range n {
				simd.Unpack(f, rows[i*a.d:][:a.d], from[i*stride:][:a.d])
			}
			return rows, a.d
		}
		a.unit(h, row, keys, to, queries,
			func(at, n int) ([]float32, int) { return unpack(k[at:], n) },
			func(at, n int) ([]float32, int) { return unpack(v[at:], n) })
	}, func(at int, merge func(out []float32) float32) {
		lse[at] = merge(out)
		simd.Pack(f, y[at*a.d:][:a.d], out)
	})
	return true
}

// unit computes the result of one query's group of heads q for a unit of keys. keyRows and valueRows
// return n rows of a head from element at on, and their stride.
func (a *pagedAttention) unit(h Host, row int, keys interval, to narrowResult, q []float32, keyRows, valueRows func(at, n int) ([]float32, int)) {
	query, head := row/a.kv, row%a.kv
	visible, width := a.visibleIn(query, keys)
	clear(to.sum)
	if width == 0 {
		return
	}
	scores, release := h.Scratch(a.group * width)
	defer release()
	g := Gemm{TransB: true, M: a.group, K: a.d, Alpha: a.scale, A: q, LDA: a.d, LDC: width}
	col := 0
	a.eachRun(query, visible, func(first, n int) {
		g.B, g.LDB = keyRows((first*a.kv+head)*a.d, n)
		g.N, g.C = n, scores[col:]
		h.GemmSerial(g)
		col += n
	})
	for i := range a.group {
		row := scores[i*width:][:width]
		to.max[i] = simd.Max(row)
		to.sum[i] = float32(simd.ExpSum(row, row, to.max[i]))
	}
	g = Gemm{M: a.group, N: a.d, Alpha: 1, LDA: width, C: to.out, LDC: a.d}
	col = 0
	a.eachRun(query, visible, func(first, n int) {
		g.B, g.LDB = valueRows((first*a.kv+head)*a.d, n)
		g.K, g.A = n, scores[col:]
		h.GemmSerial(g)
		col, g.Beta = col+n, 1
	})
}

// eachRun calls f with the first row and the number of rows of all visible keys of a query, page by page.
func (a *pagedAttention) eachRun(query int, visible [2]interval, f func(first, n int)) {
	pages := a.pages[query/a.tq*(a.tk/a.pageRows):]
	for _, r := range visible {
		for lo := r.lo; lo < r.hi; {
			n := min(r.hi-lo, a.pageRows-lo%a.pageRows)
			f(int(pages[lo/a.pageRows])*a.pageRows+lo%a.pageRows, n)
			lo += n
		}
	}
}
