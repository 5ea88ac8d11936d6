package shaders

import (
	"fmt"
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// AttentionParams are the parameters of Attention and AttentionBackward.
type AttentionParams struct {
	Batch   uint32 // B
	Queries uint32 // Tq, a row of the batch
	Keys    uint32 // Tk
	Heads   uint32 // H
	KVHeads uint32 // K; query head h reads key head h/(H/K)
	HeadDim uint32 // D
	Scale   float32
	// Accumulate* make the backward kernel add to dq, dk and dv.
	AccumulateQ, AccumulateK, AccumulateV uint32
}

// Attention computes y = softmax(q·kᵀ·Scale)·v for q [B,Tq,H,D], k and v [B,Tk,K,D].
// intervals [B,Tq,4] are the keys visible to each query: those in [prefix_lo, prefix_hi)
// and in [own_lo, own_hi), indices within the row; a key in both counts once, and with
// none y is 0. lse [B,Tq,H] is log Σ exp(scores) for the backward pass, 0 where there is
// no key.
var Attention = Declare(Decl[AttentionParams]{
	Name: "attention",
	Bindings: []Binding{
		{Name: "q", Access: Read},
		{Name: "k", Access: Read},
		{Name: "v", Access: Read},
		{Name: "intervals", Type: I32, Access: Read},
		{Name: "y", Access: Write},
		{Name: "lse", Access: Write},
	},
	Include:  []string{"exp", "attention", "attention_keys"},
	Variants: slices.Concat(attentionRows(), attentionCoop(), attentionSoftwareForward(), attentionGPU()),
	Halves:   [][]string{{"q", "k", "v", "y"}},
	Even:     func(p AttentionParams) bool { return p.HeadDim%2 == 0 },
	CPU:      attentionCPU,

	CPUNarrow: attentionNarrowCPU,
	Reference: func(p AttentionParams, b []Array) {
		clear(b[4].F)
		clear(b[5].F)
		eachQuery(p, b, func(q attentionQuery) {
			for j, key := range q.keys {
				for i := range q.d {
					b[4].F[q.at+i] += q.weights[j] * b[2].F[key+i]
				}
			}
			b[5].F[q.row] = q.lse
		})
	},
	// The cost without masking; what is skipped depends on the data.
	Cost: func(p AttentionParams) Cost {
		q, k := attentionSizes(p)
		return Cost{Flops: 4 * float64(q) * float64(p.Keys), Bytes: 8 * float64(q+k)}
	},
	Inputs: attentionInputs,
	Cases: func() []Case {
		return attentionCases(func(p AttentionParams, in []Input) []Input {
			q, _ := attentionSizes(p)
			return append(in, Input{N: q}, Input{N: q / int(p.HeadDim)})
		})
	},
})

// gpuTile is the number of queries, and of keys, of a tile on a GPU.
const gpuTile = 32

// attentionGrid is a workgroup for every tile of queries of every head and for
// every part of its columns.
func attentionGrid(tile int, slices uint32) func(p AttentionParams) [3]uint32 {
	return func(p AttentionParams) [3]uint32 {
		return gridGroups(int(p.Batch*p.Heads) * chunksOf(p.Queries, tile) * chunksOf(p.HeadDim, int(32*slices)))
	}
}

// attentionRows are for a few queries, as in decoding. On a GPU one query's attention has
// 256 invocations: a single workgroup spends most of its time waiting for memory.
func attentionRows() []DeclVariant[AttentionParams] {
	few := func(p AttentionParams, columns uint32) bool { return p.Queries <= 4 && p.HeadDim <= columns }
	passes := []DeclPass[AttentionParams]{{Grid: func(p AttentionParams) [3]uint32 {
		return gridGroups(int(p.Batch * p.Queries * p.Heads))
	}}}
	plain := func(name string, least, columns uint32) DeclVariant[AttentionParams] {
		return DeclVariant[AttentionParams]{
			Name: name, Source: "attention_row", Include: []string{"group", "attention_row_vec"}, Group: 64,
			Consts: map[string]uint32{"SPAN": 64, "COLUMNS": columns / 64},
			When: func(p AttentionParams, c Class) bool {
				loops := chunksOf(p.Keys, 64) * (int(p.HeadDim) + 64*chunksOf(p.HeadDim, 64) + 16)
				return p.HeadDim >= least && few(p, columns) && (c != Software || loops <= llvmpipeLoopLimit)
			},
			Passes: passes,
		}
	}
	return []DeclVariant[AttentionParams]{
		{
			Name: "rows4", Source: "attention_row", Include: []string{"group", "attention_row_vec4"}, Group: 256, Unroll: 1, Vec4: []string{"q", "k", "v", "y"},
			Consts: map[string]uint32{"SPAN": 1024, "COLUMNS": 1},
			When:   func(p AttentionParams, c Class) bool { return c != Software && few(p, 1024) && p.HeadDim%4 == 0 },
			Passes: passes,
		},
		plain("rows", 0, 256), plain("rows.d512", 257, 512),
	}
}

func attentionSoftwareForward() []DeclVariant[AttentionParams] {
	meets := func(p AttentionParams) int { return chunksOf(p.Keys, gpuTile) }
	return attentionSoftware("attention_lanes", nil, []string{"q", "k", "v", "y"}, meets, func(_, slices uint32) []DeclPass[AttentionParams] {
		return []DeclPass[AttentionParams]{{Grid: attentionGrid(gpuTile, slices)}}
	})
}

// attentionGPU are for heads of up to 32, 64 and more columns on a GPU, with vec4 loads
// where the layout is aligned. 128 invocations share a tile of 64 queries.
//
// No GPU has run it. The compilers of RADV 25.0.7 (navi31, 64 lanes) and NVK 25.0.7
// (Ampere) need 192 VGPRs, as shared memory allows no more waves, and 127 to 175
// registers, without spills, scratch or local memory.
func attentionGPU() []DeclVariant[AttentionParams] {
	return attentionBySize(func(name string, slices uint32, when func(p AttentionParams) bool) DeclVariant[AttentionParams] {
		return DeclVariant[AttentionParams]{
			Name: name, Source: "attention_gpu", Include: []string{"attention_gpu"}, Group: 128, Unroll: 4,
			When: func(p AttentionParams, c Class) bool {
				// A tile's matmuls.
				return when(p) && (c != Software || 2*chunksOf(p.Keys, gpuTile)*chunksOf(p.HeadDim, 4) <= llvmpipeLoopLimit)
			},
			Consts: attentionConsts(slices),
			Passes: []DeclPass[AttentionParams]{{Grid: attentionGrid(16*gpuRows, slices)}},
		}
	}, "q", "k", "v", "y")
}

// gpuRows are the rows of an invocation of 128 on a GPU.
const gpuRows = 4

func attentionConsts(slices uint32) map[string]uint32 {
	return map[string]uint32{"SLICES": slices, "ROWS": gpuRows, "TILE": 16 * gpuRows, "LOADS": 2, "LINES": 144 * gpuRows}
}

// attentionBySize makes variants for heads of up to 32, 64 and more columns, with slices
// of 32: with vec4 bindings where the layout is aligned, and without.
func attentionBySize(make func(name string, slices uint32, when func(p AttentionParams) bool) DeclVariant[AttentionParams], vec4 ...string) []DeclVariant[AttentionParams] {
	var variants []DeclVariant[AttentionParams]
	for _, slices := range []uint32{1, 2, 4} {
		fits := func(p AttentionParams) bool { return p.HeadDim <= 32*slices || slices == 4 }
		name := fmt.Sprintf("d%d", 32*slices)
		aligned := make(name+"x4", slices, func(p AttentionParams) bool { return p.HeadDim%4 == 0 && fits(p) })
		aligned.Vec4 = vec4
		variants = append(variants, aligned, make(name, slices, fits))
	}
	return variants
}

// attentionSoftware are for heads of up to 32 columns and more on a software device,
// where loads are expensive: 16 invocations have 8×8 scores each, or each of a subgroup
// of 8 has 4 rows (the source lanes). meets is the number of tiles that an invocation
// loops over.
//
// On llvmpipe (Mesa 22.3, a busy machine, variants interleaved) the subgroup variants ran
// at 7 to 15 times the speed of scalar loads without subgroups, those of the gradient at
// 7 to 14 times; vec4 loads without subgroups at 1.4 and 2.3 times.
func attentionSoftware(lanes string, include, vec4 []string, meets func(p AttentionParams) int, passes func(group, slices uint32) []DeclPass[AttentionParams]) []DeclVariant[AttentionParams] {
	var variants []DeclVariant[AttentionParams]
	// A tile's matmuls, and the loops over its rows.
	ends := func(p AttentionParams, c Class, rows int) bool {
		return c == Software && meets(p)*(chunksOf(p.HeadDim, 4)+rows) <= llvmpipeLoopLimit
	}
	includes := func(names ...string) []string {
		return slices.Concat([]string{"attention_tile"}, include, names)
	}
	subgroup := func(name string, slices, columns uint32) {
		variants = append(variants, DeclVariant[AttentionParams]{
			Name: name, Source: lanes, Include: includes("attention_lanes", "lanes"), Group: 8, Vec4: vec4,
			Consts: map[string]uint32{"SLICES": slices},
			When: func(p AttentionParams, c Class) bool {
				return ends(p, c, 10) && p.HeadDim%4 == 0 && p.HeadDim <= columns
			},
			Passes: passes(8, slices),
		})
	}
	tile := func(name string, slices uint32, vec4 []string, when func(p AttentionParams) bool) {
		variants = append(variants, DeclVariant[AttentionParams]{
			Name: name, Include: includes("attention_shared"), Group: 16, Vec4: vec4, Passes: passes(16, slices),
			When:   func(p AttentionParams, c Class) bool { return ends(p, c, 50) && when(p) },
			Consts: map[string]uint32{"SLICES": slices, "BLOCKS": 2, "SIDE": 4},
		})
	}
	subgroup("subgroup.d32x4", 1, 32)
	subgroup("subgroup.d64x4", 2, math.MaxUint32)
	tile("lanes.d32x4", 1, vec4, func(p AttentionParams) bool { return p.HeadDim%4 == 0 && p.HeadDim <= 32 })
	tile("lanes.d64x4", 2, vec4, func(p AttentionParams) bool { return p.HeadDim%4 == 0 })
	tile("lanes.d32", 1, nil, func(p AttentionParams) bool { return p.HeadDim <= 32 })
	tile("lanes.d64", 2, nil, func(AttentionParams) bool { return true })
	return variants
}

// attentionTile is the number of queries that share one block of scores on the
// CPU.
const attentionTile = 64

func attentionCPU(h Host, p AttentionParams, bufs Buffers) {
	a := attentionArgs(p, bufs)
	y, lse := bufs.F32(4), bufs.F32(5)
	tiles := (a.tq + attentionTile - 1) / attentionTile
	h.Parallel(a.batch*a.heads*tiles, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			t0 := i % tiles * attentionTile
			t := a.tile(i/tiles/a.heads, i/tiles%a.heads, t0, min(t0+attentionTile, a.tq))
			scores, release := h.Scratch(t.rows() * t.width)
			t.scores(h, scores)
			for r := range t.rows() {
				lse[t.row(r)*a.heads+t.head] = t.softmax(scores, r)
			}
			t.weighted(h, scores, y)
			release()
		}
	})
}

// attention is one call's arguments.
type attention struct {
	batch, tq, tk, heads, kv, d int
	scale                       float32
	q, k, v                     []float32
	intervals                   []int32
}

func attentionArgs(p AttentionParams, b Buffers) attention {
	return attention{
		int(p.Batch), int(p.Queries), int(p.Keys), int(p.Heads), int(p.KVHeads), int(p.HeadDim),
		p.Scale, b.F32(0), b.F32(1), b.F32(2), b.I32(3),
	}
}

// interval is a half-open range of keys.
type interval struct{ lo, hi int }

func (i interval) empty() bool { return i.lo >= i.hi }

// union of two ranges that overlap or touch, or either when the other is empty.
func (i interval) union(o interval) interval {
	switch {
	case i.empty():
		return o
	case o.empty():
		return i
	}
	return interval{min(i.lo, o.lo), max(i.hi, o.hi)}
}

func (i interval) overlaps(o interval) bool {
	return !i.empty() && !o.empty() && i.lo < o.hi && o.lo < i.hi
}

// visibleKeys returns the keys visible to query row r (over the whole batch), as two
// ordered ranges that do not overlap.
func (a *attention) visibleKeys(r int) [2]interval {
	v := a.intervals[4*r:]
	prefix, own := interval{int(v[0]), int(v[1])}, interval{int(v[2]), int(v[3])}
	if prefix.overlaps(own) {
		return [2]interval{{}, prefix.union(own)}
	}
	if !own.empty() && own.lo < prefix.lo {
		return [2]interval{own, prefix}
	}
	return [2]interval{prefix, own}
}

// attentionTileArgs is a block of queries of one head with the keys visible to any of
// them: two ranges that do not overlap, concatenated in the columns of the scores.
type attentionTileArgs struct {
	*attention
	b, head int
	t0, t1  int
	ranges  [2]interval
	width   int
}

func (a *attention) tile(b, head, t0, t1 int) attentionTileArgs {
	t := attentionTileArgs{attention: a, b: b, head: head, t0: t0, t1: t1}
	for q := t0; q < t1; q++ {
		for i, v := range a.visibleKeys(b*a.tq + q) {
			t.ranges[i] = t.ranges[i].union(v)
		}
	}
	if t.ranges[0].overlaps(t.ranges[1]) {
		t.ranges = [2]interval{{}, t.ranges[0].union(t.ranges[1])}
	}
	for _, r := range t.ranges {
		t.width += max(0, r.hi-r.lo)
	}
	return t
}

func (t *attentionTileArgs) rows() int     { return t.t1 - t.t0 }
func (t *attentionTileArgs) row(r int) int { return t.b*t.tq + t.t0 + r }

// eachRange calls f for both ranges of keys with the column of the scores where
// the range starts.
func (t *attentionTileArgs) eachRange(f func(keys interval, col int)) {
	col := 0
	for _, r := range t.ranges {
		if !r.empty() {
			f(r, col)
			col += r.hi - r.lo
		}
	}
}

// columns are the columns of the scores visible to row r, as two ordered ranges. A
// query's ranges are within the tile's ranges of the same index, or in the second where
// the tile's were merged.
func (t *attentionTileArgs) columns(r int) (cols [2]interval) {
	first := max(0, t.ranges[0].hi-t.ranges[0].lo)
	for i, v := range t.visibleKeys(t.row(r)) {
		switch {
		case v.empty():
		case i == 0 && first > 0:
			cols[0] = interval{v.lo - t.ranges[0].lo, v.hi - t.ranges[0].lo}
		default:
			cols[i] = interval{v.lo - t.ranges[1].lo + first, v.hi - t.ranges[1].lo + first}
		}
	}
	return cols
}

// The leading dimension of q, and of everything laid out as q, is heads·d; that of k and
// v is kv·d.
func (t *attentionTileArgs) queryAt() int { return (t.row(0)*t.heads + t.head) * t.d }
func (t *attentionTileArgs) keyAt(key int) int {
	return ((t.b*t.tk+key)*t.kv + t.head/(t.heads/t.kv)) * t.d
}

// dots computes out = scale·x·kᵀ for rows x laid out as q and keys laid out as k.
func (t *attentionTileArgs) dots(h Host, x, keys []float32, scale float32, out []float32) {
	t.eachRange(func(r interval, col int) {
		h.GemmSerial(Gemm{TransB: true, M: t.rows(), N: r.hi - r.lo, K: t.d, Alpha: scale,
			A: x[t.queryAt():], LDA: t.heads * t.d, B: keys[t.keyAt(r.lo):], LDB: t.kv * t.d, C: out[col:], LDC: t.width})
	})
}

func (t *attentionTileArgs) scores(h Host, out []float32) { t.dots(h, t.q, t.k, t.scale, out) }

// softmax normalises row r of the scores over its visible columns, zeroes the
// others, and returns the log of the sum.
func (t *attentionTileArgs) softmax(scores []float32, r int) float32 {
	row, cols := scores[r*t.width:(r+1)*t.width], t.columns(r)
	clearOutside(row, cols)
	rowMax := float32(math.Inf(-1))
	for _, c := range cols {
		if !c.empty() {
			rowMax = max(rowMax, simd.Max(row[c.lo:c.hi]))
		}
	}
	var sum float64
	for _, c := range cols {
		if !c.empty() {
			sum += simd.ExpSum(row[c.lo:c.hi], row[c.lo:c.hi], rowMax)
		}
	}
	if sum == 0 {
		return 0
	}
	simd.Scale(row, row, float32(1/sum))
	return rowMax + float32(math.Log(sum))
}

// clearOutside zeroes what is in neither of two ordered ranges.
func clearOutside(row []float32, cols [2]interval) {
	at := 0
	for _, c := range cols {
		if !c.empty() {
			clear(row[at:c.lo])
			at = c.hi
		}
	}
	clear(row[at:])
}

// weighted computes out = weights·v into rows laid out as q.
func (t *attentionTileArgs) weighted(h Host, weights, out []float32) {
	t.mix(h, weights, t.v, out, 1, false)
}

// mix computes out = scale·weights·x for x laid out as k and out laid out as q.
func (t *attentionTileArgs) mix(h Host, weights, x, out []float32, scale float32, accumulate bool) {
	g := Gemm{M: t.rows(), N: t.d, Alpha: scale, A: weights, LDA: t.width, C: out[t.queryAt():], LDC: t.heads * t.d}
	if accumulate {
		g.Beta = 1
	}
	if t.width == 0 {
		g.LDA = 1
		h.GemmSerial(g)
		return
	}
	t.eachRange(func(r interval, col int) {
		g.A, g.K, g.B, g.LDB = weights[col:], r.hi-r.lo, x[t.keyAt(r.lo):], t.kv*t.d
		h.GemmSerial(g)
		g.Beta = 1
	})
}
