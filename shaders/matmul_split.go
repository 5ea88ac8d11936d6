package shaders

import (
	"maps"
	"slices"
)

// The cost model of MatMulParams.Split, in tiles of 128×128.
const (
	splitSide  = 128
	splitSlots = 2 * processors // tiles that a large GPU computes at once
	splitTerms = 512            // minimum of a part
	splitCost  = 768            // overhead of a part, in terms: its sums are written and read again
)

// splitStrip is the number of columns that a workgroup of the second pass adds up in
// WGSL, and of vec4 in GLSL.
const splitStrip = 256

// Split splits the depth K into parts (split-K) where the result has so few tiles that a
// large GPU computes those of two or more parts at once, into as many parts as it does.
// It depends only on the shape, since a program is recorded for any device. Parts need
// scratch, at most 16.5 MiB; the depth is not split unless that saves a fifth of the
// time.
//
// The effect on the weights' gradients of 8 rows of 2048 tokens, with fused projections,
// estimated as in matmulCoop, not measured. Filled is the fraction of the tiles of 132
// processors, over all waves of workgroups, that are results.
//
//	                           whole                        in parts of 128x128
//	                           tile    workgroups  filled   parts  workgroups  filled
//	135M qkv      [960,576]    128x64  72          17%      6      240         76%
//	135M o        [576,576]    64x64   81          12%      10     250         76%
//	135M gate+up  [3072,576]   128x64  216         54%      2      240         81%
//	135M down     [576,1536]   128x64  120         27%      4      240         81%
//	360M qkv      [1600,960]   128x64  195         47%      2      208         71%
//	360M o        [960,960]    128x64  120         28%      4      256         85%
//	360M gate+up  [5120,960]   128x64  600         75%      whole
//	360M down     [960,2560]   128x64  320         75%      whole
//	1.7B                       128x128 256 to 1536 96%      whole
//
// A part of d terms takes 2·128·128·d FLOP and moves 128 KiB of sums, which fit the
// cache. Most of the rest is lost to partial tiles. The forward matmuls and the gradients
// of their inputs have enough tiles: 86% and more.
//
// The second pass adds up the parts in order, without atomics: the same bits each time.
// A program is recorded without a device, so the scratch is allocated on every device,
// also where no variant splits.
func (p MatMulParams) Split() MatMulParams {
	p.Parts = 0
	tiles, k := p.tiles(), int(p.K.Max)
	if tiles == 0 || p.fewRows() {
		return p
	}
	parts := min(splitSlots/tiles, k/splitTerms)
	if parts > 1 && k/parts+splitCost < k*4/5 {
		p.Parts = uint32(parts)
	}
	return p
}

// tiles is the number of tiles of the result, in all matrices of the batch.
func (p MatMulParams) tiles() int {
	return chunksOf(p.M.Max, splitSide) * chunksOf(p.N, splitSide) * int(p.Batch)
}

// fewRows reports whether matmulRows applies.
func (p MatMulParams) fewRows() bool { return p.M.Max <= 4 && p.TransA == 0 && p.TransB == 1 }

// matmulScratch is the size of the sums of every part, in whole tiles.
func matmulScratch(p MatMulParams) int64 {
	if p.Parts < 2 {
		return 0
	}
	return 4 * int64(p.Parts) * int64(p.tiles()) * splitSide * splitSide
}

// split is a variant with tiles of rows by cols for matmuls whose depth is split into
// parts; a second pass adds the parts up.
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
func splitTile(v DeclVariant[MatMulParams]) DeclVariant[MatMulParams] {
	v.Include = slices.Clone(v.Include)
	v.Include[slices.Index(v.Include, "matmul_whole")] = "matmul_parts"
	v.ByTuning = func(p MatMulParams) bool { return p.M.Max <= splitSide/2 || p.N <= splitSide/2 }
	return split(v, splitSide, splitSide, DeclPass[MatMulParams]{
		Entry: "add_parts",
		Grid: func(p MatMulParams) [3]uint32 {
			return gridGroups(int(p.M.Max*p.Batch) * chunksOf(p.N, splitStrip))
		},
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

// matmulSplitCases are matmuls in parts; the step block and short depths leave some parts
// without terms.
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
		// As many terms as parts have at least and one more; full tiles; one row and column more.
		parts(2, call(N(66), N(129), 70, 1, 0, 0, 0), call(N(128), N(66), 128, 1, 0, 0, 0), call(N(129), N(66), 129, 1, 0, 0, 0)),
		// Several workgroups along a row of the second pass, the last one full, or with one column.
		parts(2, call(N(9), N(130), 512, 1, 0, 0, 0), call(N(9), N(130), 513, 1, 0, 0, 0)),
		parts(3, call(N(130), N(192), 136, 1, 0.5, 0, 0), call(N(9), N(64), 40, 1, 0, 0, 0)),
		parts(3, overCounts(200, func(k Count) Case { return call(N(72), k, 80, 1, 0, 0, 0) })...),
		parts(3, overCounts(200, func(k Count) Case { return call(N(24), k, 72, 1, 1, 1, 1) })...),
		parts(2, overCounts(72, func(m Count) Case { return call(m, N(112), 72, 2, 0.5, 1, 1) })...),
		parts(5, overCounts(132, func(m Count) Case { return call(m, N(328), 72, 2, 0, 0, 0) })...),
	)
}
