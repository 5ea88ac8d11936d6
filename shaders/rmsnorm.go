package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// RMSNormParams are the parameters of RMSNorm.
type RMSNormParams struct {
	Rows       Count
	Cols       uint32
	Eps        float32
	Weightless uint32 // 1: w is absent, as if all ones
}

// RMSNorm computes y = x·rstd·w along the last axis of x [Rows,Cols],
// rstd = 1/sqrt(mean(x²) + eps), kept in rstd [Rows].
var RMSNorm = Declare(Decl[RMSNormParams]{
	Name: "rmsnorm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read, Optional: true},
		{Name: "y", Access: Write},
		{Name: "rstd", Access: Write},
	},
	Include:  []string{"sum", "group"},
	Variants: rowReduction(func(p RMSNormParams) uint32 { return p.Cols }, DeclPass[RMSNormParams]{Grid: func(p RMSNormParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Halves:   [][]string{{"y"}, {"x", "y"}},
	Even:     func(p RMSNormParams) bool { return p.Cols%2 == 0 },
	Axes: alongCount(func(p *RMSNormParams) *Count { return &p.Rows }, func(p RMSNormParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "y": rowBytes(p.Cols), "rstd": 4}
	}, nil),
	CPU: func(h Host, p RMSNormParams, b Buffers) {
		cols := int(p.Cols)
		x, w, y, rstd := b.F32(0), rmsNormWeight(b, cols, p.Weightless), b.F32(2), b.F32(3)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y := x[r*cols:][:cols], y[r*cols:][:cols]
				rstd[r] = float32(1 / math.Sqrt(simd.SumSquares(x)/float64(cols)+float64(p.Eps)))
				simd.RMSNorm(y, x, w, rstd[r])
			}
		})
	},
	Reference: func(p RMSNormParams, b []Array) {
		x, w, y, rstds, cols := b[0].F, b[1].F, b[2].F, b[3].F, int(p.Cols)
		for r := range int(p.Rows.Max) {
			row := x[r*cols:][:cols]
			var square float64
			for _, v := range row {
				square += v * v / float64(cols)
			}
			rstds[r] = 1 / math.Sqrt(square+float64(p.Eps))
			for i, v := range row {
				y[r*cols+i] = v * rstds[r]
				if p.Weightless == 0 {
					y[r*cols+i] *= w[i]
				}
			}
		}
	},
	Cost: func(p RMSNormParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 4 * n, Bytes: 8 * n}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, scale float64, weightless uint32) Case {
			n := int(rows.Max) * cols
			return Case{
				Params: RMSNormParams{rows, uint32(cols), 1e-6, weightless},
				Inputs: []Input{{N: n, Scale: scale}, {N: cols, Scale: 1, Absent: weightless != 0}, {N: n}, {N: int(rows.Max)}},
				Rtol:   2e-6, // positive terms: a few roundings, and a GPU's square root and division
			}
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, 1, 0) }),
			call(N(3), 576, 1e5, 0).named("large values"), call(N(3), 576, 1e-4, 0).named("small values"), call(N(3), 64, 0, 0).named("zeros"),
			call(N(5), 640, 1, 1).named("weightless"), call(N(3), 65, 1e-4, 1).named("weightless, small values"))
	},
})

// rmsNormWeight returns the weight, binding 1: ones where it is absent.
func rmsNormWeight(b Buffers, cols int, weightless uint32) []float32 {
	if weightless == 0 {
		return b.F32(1)[:cols]
	}
	ones := make([]float32, cols)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}
