package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// RMSNormParams are the parameters of RMSNorm.
type RMSNormParams struct {
	Rows Count
	Cols uint32
	Eps  float32
	// Weightless: w is absent, and all ones.
	Weightless uint32
	Residual   uint32 // 1: residual is added
}

// RMSNorm computes y = x·rstd·w + residual along the last axis of x [Rows,Cols],
// rstd = 1/sqrt(mean(x²) + eps), kept in rstd [Rows]. The weight and the residual [Rows,Cols] may be
// absent.
var RMSNorm = Declare(Decl[RMSNormParams]{
	Name: "rmsnorm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read, Optional: true},
		{Name: "y", Access: Write},
		{Name: "rstd", Access: Write},
		{Name: "residual", Access: Read, Optional: true},
	},
	Include:  []string{"sum", "group"},
	Variants: rowReduction(func(p RMSNormParams) uint32 { return p.Cols }, DeclPass[RMSNormParams]{Grid: func(p RMSNormParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Halves:   [][]string{{"y"}, {"x", "y"}, {"x"}},
	Even:     func(p RMSNormParams) bool { return p.Cols%2 == 0 },
	Axes: alongCount(func(p *RMSNormParams) *Count { return &p.Rows }, func(p RMSNormParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "y": rowBytes(p.Cols), "rstd": 4, "residual": rowBytes(p.Cols)}
	}, nil),
	CPU: func(h Host, p RMSNormParams, b Buffers) {
		x, w, y, rstd, residual := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y := x[r*cols:][:cols], y[r*cols:][:cols]
				rstd[r] = float32(1 / math.Sqrt(simd.SumSquares(x)/float64(cols)+float64(p.Eps)))
				if p.Weightless != 0 {
					simd.Scale(y, x, rstd[r])
				} else {
					simd.RMSNorm(y, x, w[:cols], rstd[r])
				}
				if p.Residual != 0 {
					simd.Add(y, y, residual[r*cols:])
				}
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
				at := r*cols + i
				y[at] = v * rstds[r]
				if p.Weightless == 0 {
					y[at] *= w[i]
				}
				if p.Residual != 0 {
					y[at] += b[4].F[at]
				}
			}
		}
	},
	Cost: func(p RMSNormParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 4 * n, Bytes: 8 * n}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, scale float64) Case {
			n := int(rows.Max) * cols
			return Case{
				Params: RMSNormParams{Rows: rows, Cols: uint32(cols), Eps: 1e-6},
				Inputs: []Input{{N: n, Scale: scale}, {N: cols, Scale: 1}, {N: n}, {N: int(rows.Max)}, {N: n, Absent: true}},
				Rtol:   2e-6, // positive terms: a few roundings, and a GPU's square root and division
			}
		}
		forms := func(rows, cols int, weightless, residual uint32) Case {
			c := call(N(rows), cols, 3)
			p := c.Params.(RMSNormParams)
			p.Weightless, p.Residual = weightless, residual
			c.Params = p
			c.Inputs[1].Absent = weightless != 0
			if residual != 0 {
				c.Inputs[4] = Input{N: rows * cols, Scale: 1}
				c.Atol = 2e-6 // the sum may cancel
			}
			return c.named("%dx%d, weightless=%d residual=%d", rows, cols, weightless, residual)
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, 1) }),
			call(N(3), 576, 1e5).named("large values"), call(N(3), 576, 1e-4).named("small values"), call(N(3), 64, 0).named("zeros"),
			forms(9, 65, 1, 0), forms(9, 65, 0, 1), forms(5, 130, 1, 1), forms(70, 64, 1, 0), forms(70, 64, 0, 1))
	},
})
