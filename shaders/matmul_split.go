package shaders

import (
	"maps"
	"slices"
)

// What MatMulParams.Split reckons with, in tiles of 128×128.
const (
	processors = 132 // of a large GPU
	splitSide  = 128
	splitSlots = 2 * processors // tiles that such a GPU makes at once
	splitTerms = 512            // the least of a part
	splitCost  = 768            // what a part costs beside its terms, in terms: its sums are written, and read again
)

// splitStrip is how many quads of values a workgroup of GLSL's second pass adds up.
const splitStrip = 256

// Split is the product with its depth cut into as many parts as keep a large GPU busy,
// where its result has fewer tiles than two thirds of what such a GPU makes at once:
// parts enough for it to make all at once, or else in two waves. It depends on the
// shape alone, for a program is recorded for any device. Parts take scratch, 33 MiB at
// the most, so that the depth stays whole where cutting it would not save a fifth of
// the time.
func (p MatMulParams) Split() MatMulParams {
	p.Parts = 0
	tiles, k := p.tiles(), int(p.K.Max)
	if tiles == 0 || 3*tiles >= 2*splitSlots || p.fewRows() {
		return p
	}
	waves := 1 + (tiles-1)/(splitSlots/2)
	parts := min(waves*splitSlots/tiles, k/splitTerms)
	if parts > 1 && waves*(k/parts+splitCost) < k*4/5 {
		p.Parts = uint32(parts)
	}
	return p
}

// tiles of the result, in all matrices of the batch.
func (p MatMulParams) tiles() int {
	return chunksOf(p.M.Max, splitSide) * chunksOf(p.N, splitSide) * int(p.Batch)
}

// fewRows says whether the product is one for matmulRows.
func (p MatMulParams) fewRows() bool { return p.M.Max <= 4 && p.TransA == 0 && p.TransB == 1 }

// matmulScratch is room for the sums of every part, in whole tiles.
func matmulScratch(p MatMulParams) int64 {
	if p.Parts < 2 {
		return 0
	}
	return 4 * int64(p.Parts) * int64(p.tiles()) * splitSide * splitSide
}

// split is a variant that makes tiles of so many rows and columns, for products whose
// depth is cut into parts; then adds them up in a second pass.
func split(v DeclVariant[MatMulParams], rows, cols int, add DeclPass[MatMulParams]) DeclVariant[MatMulParams] {
	when := v.When
	v.Name += ".split"
	v.When = func(p MatMulParams, c Class) bool { return p.Parts > 1 && when(p, c) }
	v.Passes = []DeclPass[MatMulParams]{{Grid: func(p MatMulParams) [3]uint32 {
		return gridGroups(chunksOf(p.M.Max, rows) * chunksOf(p.N, cols) * int(p.Batch*p.Parts))
	}}, add}
	return v
}

// splitTile is split for a variant in WGSL.
func splitTile(v DeclVariant[MatMulParams], side int) DeclVariant[MatMulParams] {
	v.Include = []string{"matmul_tiles", "place", "matmul_parts"}
	v.ByTuning = func(p MatMulParams) bool { return p.M.Max <= splitSide/2 || p.N <= splitSide/2 }
	return split(v, side, side, DeclPass[MatMulParams]{
		Entry: "add_parts",
		Rows:  func(p MatMulParams) (rows, cols int) { return int(p.M.Max * p.Batch), int(p.N) },
	})
}

// splitCoop is split for a variant in GLSL.
func (t coopTile) splitCoop(v DeclVariant[MatMulParams]) DeclVariant[MatMulParams] {
	v.Include = []string{"matmul", "matmul_tiles", "matmul_parts"}
	v.Consts = maps.Clone(v.Consts)
	v.Consts["STRIP"] = splitStrip
	return split(v, int(t.rows), int(t.cols), DeclPass[MatMulParams]{Grid: func(p MatMulParams) [3]uint32 {
		return gridGroups((int(p.M.Max*p.Batch)*chunksOf(p.N, 4) + splitStrip - 1) / splitStrip)
	}})
}

// matmulSplitCases are products in parts, of which the step block and short depths
// leave some without terms.
func matmulSplitCases(call func(m, k Count, n, batch int, beta float32, bias, residual uint32) Case) []Case {
	parts := func(n uint32, all ...Case) []Case {
		for i := range all {
			p := all[i].Params.(MatMulParams)
			p.Parts = n
			all[i].Params = p
			all[i] = all[i].named("%s in %d parts", all[i].Name, n)
		}
		return all
	}
	return slices.Concat(
		parts(2, call(N(72), N(136), 80, 1, 0, 1, 0), call(N(24), N(136), 37, 3, 2, 0, 0)),
		parts(3, call(N(130), N(192), 136, 1, 0.5, 0, 0), call(N(9), N(64), 40, 1, 0, 0, 0)),
		parts(3, overCounts(200, func(k Count) Case { return call(N(72), k, 80, 1, 0, 0, 0) })...),
		parts(3, overCounts(200, func(k Count) Case { return call(N(24), k, 72, 1, 1, 1, 1) })...),
		parts(2, overCounts(72, func(m Count) Case { return call(m, N(112), 72, 2, 0.5, 1, 1) })...),
		parts(5, overCounts(132, func(m Count) Case { return call(m, N(328), 72, 2, 0, 0, 0) })...),
	)
}
