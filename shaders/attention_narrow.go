package shaders

import (
	"math"

	"patchwork/shaders/half"
	"patchwork/shaders/simd"
)

const (
	// narrowQueries is the largest number of queries of a row for which 16-bit keys and
	// values are not converted in memory.
	narrowQueries = 4
	// narrowKeys is the number of keys of a unit of work.
	narrowKeys = 256
	// narrowValues is the number of rows of values that are converted at once, to stay in
	// the first-level cache.
	narrowValues = 32
)

// attentionNarrowCPU is for the few queries of decoding: only visible keys and values are
// read, once for all heads that share them. Every unit of keys has its own softmax, and
// merge combines them (Dao et al., "Flash-Decoding for long-context inference", 2023).
//
// After 2000 tokens, SmolLM2-135M in bf16 on two busy cores took 42 ms per token at best,
// and 59 with 16-bit keys and values converted to the cache's end.
func attentionNarrowCPU(h Host, p AttentionParams, b Buffers, s Storage) bool {
	n := narrowAttention{
		attention: attention{
			batch: int(p.Batch), tq: int(p.Queries), tk: int(p.Keys), heads: int(p.Heads), kv: int(p.KVHeads), d: int(p.HeadDim),
			scale: p.Scale, intervals: b.I32(3),
		},
		queries: b.U16(0), keys: b.U16(1), values: b.U16(2),
		format: s.Type.Format(), dots: simd.NarrowDots(s.Type.Format()), group: int(p.Heads / p.KVHeads),
	}
	if n.tq > narrowQueries || n.d%16 != 0 || n.dots == nil {
		return false
	}
	y, lse, out := b.U16(4), b.F32(5), make([]float32, n.d)
	n.inUnits(h, func(row int, keys interval, to narrowResult) { n.unit(h, row, keys, to) }, func(at int, merge func(out []float32) float32) {
		lse[at] = merge(out)
		simd.Pack(n.format, y[at*n.d:][:n.d], out)
	})
	return true
}

// inUnits calls unit for every group of heads of every query, and units of keys, and then store for every
// head with what merges the results of its units.
func (n *narrowAttention) inUnits(h Host, unit func(row int, keys interval, to narrowResult), store func(at int, merge func(out []float32) float32)) {
	units := (n.tk + narrowKeys - 1) / narrowKeys
	rows := n.batch * n.tq * n.kv // of group heads each
	size := n.group * (n.d + 2)
	results, release := h.Scratch(rows * units * size)
	defer release()
	h.Parallel(rows*units, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			first := i % units * narrowKeys
			unit(i/units, interval{first, min(first+narrowKeys, n.tk)}, n.result(results[i*size:]))
		}
	})
	for row := range rows {
		for i := range n.group {
			store(row*n.group+i, func(out []float32) float32 { return n.merge(results[row*units*size:][:units*size], size, i, out) })
		}
	}
}

// narrowAttention is attention over 16 bits, with query heads in groups that share keys.
// The float32 slices q, k and v are nil.
type narrowAttention struct {
	attention
	queries, keys, values []uint16

	format half.Format
	dots   []simd.NarrowDotsKernel
	group  int
}

// narrowResult is the partial result of a group of heads for a unit of keys: for each
// head the largest score, the sum of exp(score - max), 0 where no key is visible, and the
// sum of values with these weights.
type narrowResult struct{ max, sum, out []float32 }

func (n *narrowAttention) result(at []float32) narrowResult {
	return narrowResult{at[:n.group], at[n.group:][:n.group], at[2*n.group:][:n.group*n.d]}
}

// unit computes the result of one query's group of heads for a unit of keys.
func (n *narrowAttention) unit(h Host, row int, keys interval, to narrowResult) {
	query, head := row/n.kv, row%n.kv
	visible, width := n.visibleIn(query, keys)
	clear(to.sum)
	if width == 0 {
		return
	}
	keyAt := func(key int) int { return ((query/n.tq*n.tk+key)*n.kv + head) * n.d }
	buffer, release := h.Scratch(n.group*(n.d+width) + narrowValues*n.d)
	defer release()
	q, scores, values := buffer[:n.group*n.d], buffer[n.group*n.d:][:n.group*width], buffer[n.group*(n.d+width):]
	simd.Unpack(n.format, q, n.queries[row*len(q):][:len(q)])
	col := 0
	for _, r := range visible {
		if r.empty() {
			continue
		}
		for i := 0; i < n.group; i += len(n.dots) {
			kernel := n.dots[min(len(n.dots), n.group-i)-1]
			kernel(n.d, &q[i*n.d], n.d, &n.keys[keyAt(r.lo)], n.kv*n.d, r.hi-r.lo, &scores[i*width+col], width, n.scale, 0)
		}
		col += r.hi - r.lo
	}
	for i := range n.group {
		row := scores[i*width:][:width]
		to.max[i] = simd.Max(row)
		to.sum[i] = float32(simd.ExpSum(row, row, to.max[i]))
	}
	g := Gemm{M: n.group, N: n.d, Alpha: 1, A: scores, LDA: width, B: values, LDB: n.d, C: to.out, LDC: n.d}
	for _, r := range visible {
		for lo := r.lo; lo < r.hi; lo += narrowValues {
			g.K = min(narrowValues, r.hi-lo)
			for i := range g.K {
				simd.Unpack(n.format, values[i*n.d:][:n.d], n.values[keyAt(lo+i):][:n.d])
			}
			h.GemmSerial(g)
			g.A, g.Beta = g.A[g.K:], 1
		}
	}
}

// visibleIn returns the keys of a unit that are visible to a query, and their number.
func (n *narrowAttention) visibleIn(query int, unit interval) (visible [2]interval, width int) {
	visible = n.visibleKeys(query)
	for i, v := range visible {
		visible[i] = interval{max(v.lo, unit.lo), min(v.hi, unit.hi)}
		width += max(0, visible[i].hi-visible[i].lo)
	}
	return visible, width
}

// merge combines the results of a head's units into out [D] and returns the log of the
// sum of all exp(scores), 0 where no key is visible.
func (n *narrowAttention) merge(results []float32, size, head int, out []float32) float32 {
	clear(out)
	maxScore := float32(math.Inf(-1))
	for at := 0; at < len(results); at += size {
		if r := n.result(results[at:]); r.sum[head] != 0 {
			maxScore = max(maxScore, r.max[head])
		}
	}
	var sum float64
	for at := 0; at < len(results); at += size {
		r := n.result(results[at:])
		if r.sum[head] == 0 {
			continue
		}
		weight := math.Exp(float64(r.max[head] - maxScore))
		sum += weight * float64(r.sum[head])
		for i, v := range r.out[head*n.d:][:n.d] {
			out[i] += float32(weight) * v
		}
	}
	if sum == 0 {
		return 0
	}
	simd.Scale(out, out, float32(1/sum))
	return maxScore + float32(math.Log(sum))
}
