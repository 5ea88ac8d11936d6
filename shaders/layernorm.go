package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// LayerNormParams are the parameters of LayerNorm.
type LayerNormParams struct {
	Rows Count
	Cols uint32
	Eps  float32
}

// LayerNorm computes y = (x - mean)·rstd·w + b along the last axis of
// x [Rows,Cols], rstd = 1/sqrt(var + eps), var without Bessel's correction;
// mean and rstd [Rows] are kept for the backward pass.
var LayerNorm = Declare(Decl[LayerNormParams]{
	Name: "layernorm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "b", Access: Read},
		{Name: "y", Access: Write},
		{Name: "mean", Access: Write},
		{Name: "rstd", Access: Write},
	},
	Include:  []string{"sum", "group"},
	Variants: rowReduction(func(p LayerNormParams) uint32 { return p.Cols }, DeclPass[LayerNormParams]{Grid: func(p LayerNormParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Halves:   [][]string{{"y"}, {"x", "y"}},
	Even:     func(p LayerNormParams) bool { return p.Cols%2 == 0 },
	Axes: alongCount(func(p *LayerNormParams) *Count { return &p.Rows }, func(p LayerNormParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "y": rowBytes(p.Cols), "mean": 4, "rstd": 4}
	}, nil),
	CPU: func(h Host, p LayerNormParams, bufs Buffers) {
		x, w, b, y, mean, rstd := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4), bufs.F32(5)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y, w, b := x[r*cols:][:cols], y[r*cols:][:cols], w[:cols], b[:cols]
				m, v := simd.Moments(x)
				mean[r], rstd[r] = float32(m), float32(1/math.Sqrt(v+float64(p.Eps)))
				simd.LayerNorm(y, x, w, b, mean[r], rstd[r])
			}
		})
	},
	Reference: func(p LayerNormParams, b []Array) {
		x, w, bias, y, means, rstds, cols := b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, int(p.Cols)
		for r := range int(p.Rows.Max) {
			row := x[r*cols:][:cols]
			var mean, variance float64
			for _, v := range row {
				mean += v / float64(cols)
			}
			for _, v := range row {
				variance += (v - mean) * (v - mean) / float64(cols)
			}
			rstd := 1 / math.Sqrt(variance+float64(p.Eps))
			means[r], rstds[r] = mean, rstd
			for i, v := range row {
				y[r*cols+i] = (v-mean)*rstd*w[i] + bias[i]
			}
		}
	},
	Cost: func(p LayerNormParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 8 * n, Bytes: 8 * n}
	},
	Cases: func() []Case {
		// The mean is off by half a unit in its last place; rstd, up to
		// 1/sqrt(eps) where a row has no spread, multiplies that.
		call := func(rows Count, cols int, mean, scale, eps float64) Case {
			n, m := int(rows.Max)*cols, int(rows.Max)
			return Case{
				Params: LayerNormParams{rows, uint32(cols), float32(eps)},
				Inputs: []Input{{N: n, Mean: mean, Scale: scale}, {N: cols, Scale: 1}, {N: cols, Scale: 1}, {N: n}, {N: m}, {N: m}},
				Atol:   2e-6 + 3e-7*(mean+scale)/math.Max(scale/5, math.Sqrt(eps)), Rtol: 5e-6,
			}
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, 0, 1, 1e-3) }),
			call(N(3), 576, 100, 1, 1e-5).named("mean 100"), call(N(3), 576, 0, 1e4, 1e-5).named("spread 1e4"),
			call(N(3), 192, 0.5, 0, 1e-5).named("no spread"), call(N(2), 3072, 0.5, 0.2, 1).named("pixels, eps 1"))
	},
})
