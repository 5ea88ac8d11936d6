package shaders

import (
	"math"
	"slices"
)

// plantedValues are errors of every gradient that is checked.
var plantedValues = []plantedValue{
	{"with the wrong sign", func(g, base []float64) { scaleBeyond(g, base, -1) }},
	{"without a factor of 2", func(g, base []float64) { scaleBeyond(g, base, 0.5) }},
	{"a millionth too large", func(g, base []float64) { scaleBeyond(g, base, 1+1e-6) }},
	{"shifted by one element", func(g, base []float64) { moveBeyond(g, base, 1) }},
	{"shifted by half of the elements", func(g, base []float64) { moveBeyond(g, base, len(g)/2) }},
	{"without the largest element", func(g, base []float64) {
		i := largestBeyond(g, base)
		g[i] = base[i]
	}},
	{"overwriting instead of adding", func(g, base []float64) {
		for i := range g {
			g[i] -= base[i]
		}
	}},
	{"not a number", func(g, base []float64) { g[len(g)-1] = math.NaN() }},
}

// scaleBeyond multiplies what was added to base.
func scaleBeyond(g, base []float64, by float64) {
	for i := range g {
		g[i] = base[i] + by*(g[i]-base[i])
	}
}

// moveBeyond shifts what was added to base by this number of elements.
func moveBeyond(g, base []float64, by int) {
	added := make([]float64, len(g))
	for i := range g {
		added[(i+by)%len(g)] = g[i] - base[i]
	}
	for i := range g {
		g[i] = base[i] + added[i]
	}
}

func largestBeyond(g, base []float64) int {
	added := make([]float64, len(g))
	for i := range g {
		added[i] = math.Abs(g[i] - base[i])
	}
	return slices.Index(added, slices.Max(added))
}

// plantedCalls are errors of single kernels in the backward passes.
var plantedCalls = []plantedCall{
	planted("without the inverse rotation", RoPE, func(p *RoPEParams) { p.Inverse = 0 }),
	planted("heads and tokens swapped", RoPE, func(p *RoPEParams) { p.Tokens, p.Heads = N(int(p.Heads)), p.Tokens.Max }),
	planted("without the scale", AttentionBackward, func(p *AttentionParams) { p.Scale = 1 }),
	planted("keys of the wrong head", AttentionBackward, func(p *AttentionParams) { p.KVHeads = 1 }),
	planted("targets of the previous row", CrossEntropy, func(p *CrossEntropyParams) { p.Base-- }),
	planted("without the scale", CrossEntropy, func(p *CrossEntropyParams) { p.Scale = 1 }),
	planted("without the gap after a row", CrossEntropy, func(p *CrossEntropyParams) { p.LD = p.Cols }),
	planted("grid height and width swapped", PositionAddBackward, func(p *PositionAddParams) { p.GridH, p.GridW = p.GridW, p.GridH }),
	planted("one row of the tables too few", PositionLookupBackward, func(p *PositionLookupBackwardParams) { p.MaxGrid-- }),
	planted("height and width swapped", PatchifyBackward, func(p *PatchifyParams) { p.Height, p.Width = p.Width, p.Height }),
	planted("starting at the wrong index entry", ScatterRows, func(p *GatherRowsParams) { p.Base = 0 }),
	planted("starting at the wrong index entry", GatherRows, func(p *GatherRowsParams) { p.Base = 0 }),
	planted("one table row too far", EmbedBackward, func(p *EmbedBackwardParams) { p.First++ }),
	planted("one segment too few", EmbedBackward, func(p *EmbedBackwardParams) { p.Segments.Max-- }),
	planted("one row too few", ColumnSum, func(p *ColumnSumParams) { p.Rows.Max-- }),
	planted("one term too few", MatMul, func(p *MatMulParams) { p.K.Max-- }),
	planted("without the factor", MatMul, func(p *MatMulParams) { p.Alpha = 1 }),
	planted("one row too few", AppendMeansBackward, func(p *AppendMeansBackwardParams) { p.Rows.Max-- }),
	planted("one channel", AppendMeansBackward, func(p *AppendMeansBackwardParams) { p.Channels = 1 }),
	planted("one row too few", LayerNormBackward, func(p *LayerNormBackwardParams) { p.Rows.Max-- }),
	planted("one row too few", RMSNormBackward, func(p *RMSNormBackwardParams) { p.Rows.Max-- }),
	planted("rows and columns swapped", SoftmaxBackward, func(p *SoftmaxBackwardParams) { p.Rows, p.Cols = N(int(p.Cols)), p.Rows.Max }),
	planted("rows and columns swapped", SwiGLUStackedBackward, func(p *SwiGLUStackedBackwardParams) { p.Rows, p.Cols = N(int(p.Cols)), p.Rows.Max }),
	planted("twice as many heads of half the size", RoPESplitBackward, func(p *RoPESplitParams) { p.HeadDim, p.Heads, p.KVHeads = p.HeadDim/2, 2*p.Heads, 2*p.KVHeads }),
	planted("one token too few", RoPESplitNormBackward, func(p *RoPESplitNormBackwardParams) { p.Tokens.Max-- }),
}

func planted[P any](name string, kernel *Kernel, change func(p *P)) plantedCall {
	return plantedCall{name, kernel, func(params any) any {
		p := params.(P)
		change(&p)
		return p
	}}
}
