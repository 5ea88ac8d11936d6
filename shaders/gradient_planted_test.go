package shaders

import (
	"math"
	"slices"
)

// plantedValues are errors of every gradient that is checked.
var plantedValues = []plantedValue{
	{"of the other sign", func(g, base []float64) { scaleBeyond(g, base, -1) }},
	{"without a factor", func(g, base []float64) { scaleBeyond(g, base, 0.5) }},
	{"a millionth too large", func(g, base []float64) { scaleBeyond(g, base, 1+1e-6) }},
	{"an element further", func(g, base []float64) { moveBeyond(g, base, 1) }},
	{"half of the elements further", func(g, base []float64) { moveBeyond(g, base, len(g)/2) }},
	{"with an element too few", func(g, base []float64) {
		i := largestBeyond(g, base)
		g[i] = base[i]
	}},
	{"written over what was there", func(g, base []float64) {
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
	planted("not turned back", RoPE, func(p *RoPEParams) { p.Inverse = 0 }),
	planted("heads and tokens in turn", RoPE, func(p *RoPEParams) { p.Tokens, p.Heads = N(int(p.Heads)), p.Tokens.Max }),
	planted("without its scale", AttentionBackward, func(p *AttentionParams) { p.Scale = 1 }),
	planted("keys of the wrong head", AttentionBackward, func(p *AttentionParams) { p.KVHeads = 1 }),
	planted("targets of the row before", CrossEntropy, func(p *CrossEntropyParams) { p.Base-- }),
	planted("without its scale", CrossEntropy, func(p *CrossEntropyParams) { p.Scale = 1 }),
	planted("without the gap behind a row", CrossEntropy, func(p *CrossEntropyParams) { p.LD = p.Cols }),
	planted("down and across in turn", PositionAddBackward, func(p *PositionAddParams) { p.GridH, p.GridW = p.GridW, p.GridH }),
	planted("height and width in turn", PatchifyBackward, func(p *PatchifyParams) { p.Height, p.Width = p.Width, p.Height }),
	planted("rows of another entry", ScatterRows, func(p *GatherRowsParams) { p.Base = 0 }),
	planted("rows of another entry", GatherRows, func(p *GatherRowsParams) { p.Base = 0 }),
	planted("a row of the table further", EmbedBackward, func(p *EmbedBackwardParams) { p.First++ }),
	planted("a segment too few", EmbedBackward, func(p *EmbedBackwardParams) { p.Segments.Max-- }),
	planted("a row too few", ColumnSum, func(p *ColumnSumParams) { p.Rows.Max-- }),
	planted("a term too few", MatMul, func(p *MatMulParams) { p.K.Max-- }),
	planted("without its factor", MatMul, func(p *MatMulParams) { p.Alpha = 1 }),
	planted("a row too few", LayerNormBackward, func(p *LayerNormBackwardParams) { p.Rows.Max-- }),
	planted("a row too few", RMSNormBackward, func(p *RMSNormBackwardParams) { p.Rows.Max-- }),
	planted("rows that are cut elsewhere", SoftmaxBackward, func(p *SoftmaxBackwardParams) { p.Rows, p.Cols = N(int(p.Cols)), p.Rows.Max }),
	planted("gate and up of other columns", SwiGLUStackedBackward, func(p *SwiGLUStackedBackwardParams) { p.Rows, p.Cols = N(int(p.Cols)), p.Rows.Max }),
	planted("heads of queries and keys in turn", RoPESplitBackward, func(p *RoPESplitParams) { p.HeadDim, p.Heads, p.KVHeads = p.HeadDim/2, 2*p.Heads, 2*p.KVHeads }),
	planted("a token too few", RoPESplitNormBackward, func(p *RoPESplitNormBackwardParams) { p.Tokens.Max-- }),
}

func planted[P any](name string, kernel *Kernel, change func(p *P)) plantedCall {
	return plantedCall{name, kernel, func(params any) any {
		p := params.(P)
		change(&p)
		return p
	}}
}
