package shaders

import (
	"slices"

	"patchwork/shaders/simd"
)

// AttentionBackward computes the gradients of Attention from dy, with its
// outputs y and lse, by FlashAttention-2's formulas (Dao, 2023): with the
// weights P = exp(scores - lse) and delta = Σ dy·y over a head,
//
//	dv = Pᵀ·dy,  dS = P·(dy·vᵀ - delta)·Scale,  dq = dS·k,  dk = dSᵀ·q
var AttentionBackward = Declare(Decl[AttentionParams]{
	Name: "attention_backward",
	Bindings: []Binding{
		{Name: "q", Access: Read},
		{Name: "k", Access: Read},
		{Name: "v", Access: Read},
		{Name: "intervals", Type: I32, Access: Read},
		{Name: "y", Access: Read, Recomputed: true},
		{Name: "lse", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dq", Access: ReadWrite},
		{Name: "dk", Access: ReadWrite},
		{Name: "dv", Access: ReadWrite},
	},
	Include: []string{"exp", "attention", "attention_keys"},
	Variants: slices.Concat(attentionBackwardCoop(), attentionSoftware("attention_backward_lanes", []string{"attention_deltas", "attention_ranges"},
		attentionBackwardVec4, attentionBackwardMeets, attentionBackwardPasses), attentionBackwardGPU()),
	// delta [B,Tq,H] and, of every tile of queries, up to two pairs of intervals.
	Scratch: func(p AttentionParams) int64 {
		return 4 * int64(p.Batch) * (int64(p.Queries)*int64(p.Heads) + 8*int64(chunksOf(p.Queries, gpuTile)))
	},
	Halves: [][]string{{"q", "k", "v", "y", "dy", "dq", "dk", "dv"}},
	Even:   func(p AttentionParams) bool { return p.HeadDim%2 == 0 },
	CPU:    attentionBackwardCPU,
	Reference: func(p AttentionParams, b []Array) {
		dq, dk, dv := b[7].F, b[8].F, b[9].F
		for i, accumulate := range []uint32{p.AccumulateQ, p.AccumulateK, p.AccumulateV} {
			if accumulate == 0 {
				clear(b[7+i].F)
			}
		}
		eachQuery(p, b, func(q attentionQuery) {
			dy := b[6].F[q.at:][:q.d]
			var delta float64
			for j, key := range q.keys {
				delta += q.weights[j] * dot(dy, b[2].F[key:])
			}
			for j, key := range q.keys {
				ds := q.weights[j] * (dot(dy, b[2].F[key:]) - delta) * float64(p.Scale)
				for i := range q.d {
					dq[q.at+i] += ds * b[1].F[key+i]
					dk[key+i] += ds * b[0].F[q.at+i]
					dv[key+i] += q.weights[j] * dy[i]
				}
			}
		})
	},
	// Five matmuls without masking; what is skipped depends on the data. What a GPU's
	// passes compute twice is not counted.
	Cost: func(p AttentionParams) Cost {
		q, k := attentionSizes(p)
		return Cost{Flops: 10 * float64(q) * float64(p.Keys), Bytes: 16 * float64(q+k)}
	},
	Inputs: attentionBackwardInputs,
	Cases:  attentionBackwardCases,
})

// attentionBackwardVec4 are the bindings with vec4 loads where the layout is aligned.
var attentionBackwardVec4 = []string{"q", "k", "v", "y", "dy", "dq", "dk", "dv"}

func attentionBackwardPasses(group, slices uint32) []DeclPass[AttentionParams] {
	return []DeclPass[AttentionParams]{
		{Entry: "deltas", Grid: func(p AttentionParams) [3]uint32 {
			return grid1(int(p.Batch*p.Heads)*chunksOf(p.Queries, 4), int(group))
		}},
		attentionRanges(group),
		{Entry: "queries", Grid: attentionGrid(gpuTile, slices)},
		{Entry: "keys", Grid: attentionKeysGrid(gpuTile, slices)},
	}
}

// attentionRanges is the pass that computes the intervals of every tile of queries.
func attentionRanges(group uint32) DeclPass[AttentionParams] {
	return DeclPass[AttentionParams]{Entry: "tiles", Grid: func(p AttentionParams) [3]uint32 {
		return grid1(int(p.Batch)*chunksOf(p.Queries, gpuTile), int(group))
	}}
}

// attentionKeysGrid is attentionGrid for tiles of keys.
func attentionKeysGrid(tile int, slices uint32) func(p AttentionParams) [3]uint32 {
	return func(p AttentionParams) [3]uint32 {
		return gridGroups(int(p.Batch*p.KVHeads) * chunksOf(p.Keys, tile) * chunksOf(p.HeadDim, int(32*slices)))
	}
}

// attentionBackwardGPU are for a GPU, as attentionGPU. The sums of dk and dv of 128 columns
// do not fit into registers (NVK 25.0.7's compiler put 1088 bytes of them into local
// memory on Ampere): two workgroups have 64 each, with all of the scores. The compilers
// then need 162 to 237 registers on Ampere and 192 to 240 VGPRs on navi31, without spills,
// scratch or local memory.
func attentionBackwardGPU() []DeclVariant[AttentionParams] {
	return attentionBySize(func(name string, slices uint32, when func(p AttentionParams) bool) DeclVariant[AttentionParams] {
		consts := attentionConsts(slices)
		consts["KEY_SLICES"] = min(slices, 2)
		return DeclVariant[AttentionParams]{
			Name: name, Source: "attention_backward_gpu", Include: []string{"attention_tile", "attention_ranges", "attention_gpu"}, Group: 128, Unroll: 4,
			When: func(p AttentionParams, c Class) bool {
				return when(p) && (c != Software || attentionBackwardMeets(p)*chunksOf(p.HeadDim, 4) <= llvmpipeLoopLimit/4)
			},
			Consts: consts,
			Passes: []DeclPass[AttentionParams]{
				{Entry: "deltas", Grid: func(p AttentionParams) [3]uint32 { return grid1(int(p.Batch*p.Heads*p.Queries), 128) }},
				attentionRanges(128),
				{Entry: "queries", Grid: attentionGrid(gpuRows*16, slices)},
				{Entry: "keys", Grid: attentionKeysGrid(gpuRows*16, min(slices, 2))},
			},
		}
	}, attentionBackwardVec4...)
}

// attentionBackwardMeets is the number of tiles that an invocation loops over: those of
// the keys for dq, those of the queries of all heads that share a key head for dk and dv.
func attentionBackwardMeets(p AttentionParams) int {
	return max(chunksOf(p.Keys, gpuTile), chunksOf(p.Queries, gpuTile)*int(p.Heads/max(1, p.KVHeads)))
}

// attentionBackwardCPU works on islands: runs of queries whose keys are visible to no
// query outside the run (a packed sample is one), so that each (row, key head, island)
// writes a separate part of dk and dv.
func attentionBackwardCPU(h Host, p AttentionParams, bufs Buffers) {
	a := attentionArgs(p, bufs)
	g := attentionGradients{
		lse: bufs.F32(5), dy: bufs.F32(6), dq: bufs.F32(7), dk: bufs.F32(8), dv: bufs.F32(9),
		accumulateQ: p.AccumulateQ != 0,
	}
	// Keys visible to no query are in no island; their gradient is 0.
	if p.AccumulateK == 0 {
		clear(g.dk[:a.batch*a.tk*a.kv*a.d])
	}
	if p.AccumulateV == 0 {
		clear(g.dv[:a.batch*a.tk*a.kv*a.d])
	}
	type unit struct{ b, kv, t0, t1 int }
	var units []unit
	for b := range a.batch {
		for _, island := range a.islands(b) {
			for kv := range a.kv {
				units = append(units, unit{b, kv, island.lo, island.hi})
			}
		}
	}
	h.Parallel(len(units), 1, func(lo, hi int) {
		for _, u := range units[lo:hi] {
			for head := u.kv * (a.heads / a.kv); head < (u.kv+1)*(a.heads/a.kv); head++ {
				for t0 := u.t0; t0 < u.t1; t0 += attentionTile {
					t := a.tile(u.b, head, t0, min(t0+attentionTile, u.t1))
					g.tile(h, &t)
				}
			}
		}
	})
}

// islands splits the queries of row b wherever no key is visible both before and after
// the split.
func (a *attention) islands(b int) []interval {
	lowest := make([]int, a.tq+1) // lowest key visible to query t or a later one
	lowest[a.tq] = a.tk
	for t := a.tq - 1; t >= 0; t-- {
		lowest[t] = lowest[t+1]
		for _, v := range a.visibleKeys(b*a.tq + t) {
			if !v.empty() {
				lowest[t] = min(lowest[t], v.lo)
			}
		}
	}
	var islands []interval
	start, highest := 0, 0
	for t := range a.tq {
		if t > start && highest <= lowest[t] {
			islands = append(islands, interval{start, t})
			start = t
		}
		for _, v := range a.visibleKeys(b*a.tq + t) {
			if !v.empty() {
				highest = max(highest, v.hi)
			}
		}
	}
	return append(islands, interval{start, a.tq})
}

type attentionGradients struct {
	lse, dy     []float32
	dq, dk, dv  []float32
	accumulateQ bool
}

func (g *attentionGradients) tile(h Host, t *attentionTileArgs) {
	size := t.rows() * t.width
	buf, release := h.Scratch(2 * size)
	defer release()
	weights, dscores := buf[:size], buf[size:]
	t.scores(h, weights)
	t.dots(h, g.dy, t.v, 1, dscores)
	for r := range t.rows() {
		t.softmaxGradient(weights, dscores, r, g.lse[t.row(r)*t.heads+t.head])
	}
	t.mix(h, dscores, t.k, g.dq, t.scale, g.accumulateQ)
	t.scatter(h, dscores, t.q, g.dk, t.scale)
	t.scatter(h, weights, g.dy, g.dv, 1)
}

// softmaxGradient turns row r of the scores into weights and of dy·vᵀ into the gradient
// of the scores. delta is computed as Σ P·(dy·vᵀ), which is equal to Σ dy·y. With one
// visible key the gradient is then exactly 0.
func (t *attentionTileArgs) softmaxGradient(weights, dscores []float32, r int, lse float32) {
	w, ds := weights[r*t.width:(r+1)*t.width], dscores[r*t.width:(r+1)*t.width]
	cols, delta := t.columns(r), 0.0
	clearOutside(w, cols)
	clearOutside(ds, cols)
	keys, only := 0, 0
	for _, c := range cols {
		if !c.empty() {
			delta += simd.ExpDot(w[c.lo:c.hi], ds[c.lo:c.hi], lse)
			keys, only = keys+c.hi-c.lo, c.lo
		}
	}
	if keys == 1 {
		delta = float64(ds[only])
	}
	simd.MulDiff(ds, w, float32(delta))
}

// scatter adds scale·weightsᵀ·x to the rows of out that belong to the tile's
// keys: x laid out as q, out laid out as k.
func (t *attentionTileArgs) scatter(h Host, weights, x, out []float32, scale float32) {
	t.eachRange(func(r interval, col int) {
		h.GemmSerial(Gemm{TransA: true, M: r.hi - r.lo, N: t.d, K: t.rows(), Alpha: scale, Beta: 1,
			A: weights[col:], LDA: t.width, B: x[t.queryAt():], LDB: t.heads * t.d, C: out[t.keyAt(r.lo):], LDC: t.kv * t.d})
	})
}
