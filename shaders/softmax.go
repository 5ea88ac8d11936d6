package shaders

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// SoftmaxParams are the parameters of Softmax.
type SoftmaxParams struct {
	Rows Count
	Cols uint32
}

// Softmax computes y = softmax(x) along the last axis of x [Rows,Cols] over the
// columns where mask is not 0, and 0 elsewhere; a row without any is all zeros.
// Without a mask every column counts.
var Softmax = Declare(Decl[SoftmaxParams]{
	Name: "softmax",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "mask", Type: I32, Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"exp", "sum", "group"},
	Variants: rowReduction(func(p SoftmaxParams) uint32 { return p.Cols }, DeclPass[SoftmaxParams]{Grid: func(p SoftmaxParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Axes: alongCount(func(p *SoftmaxParams) *Count { return &p.Rows }, func(p SoftmaxParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "mask": rowBytes(p.Cols), "y": rowBytes(p.Cols)}
	}, nil),
	CPU: func(h Host, p SoftmaxParams, b Buffers) {
		x, mask, y, cols := b.F32(0), b.I32(1), b.F32(2), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				simd.Softmax(y[r*cols:][:cols], x[r*cols:], mask[r*cols:])
			}
		})
	},
	Reference: func(p SoftmaxParams, b []Array) {
		cols := int(p.Cols)
		for r := range int(p.Rows.Max) {
			x, mask, y := b[0].F[r*cols:][:cols], b[1].I[r*cols:][:cols], b[2].F[r*cols:][:cols]
			rowMax, sum := math.Inf(-1), 0.0
			for i, v := range x {
				if mask[i] != 0 {
					rowMax = max(rowMax, v)
				}
			}
			for i, v := range x {
				y[i] = 0
				if mask[i] != 0 {
					y[i] = math.Exp(v - rowMax)
					sum += y[i]
				}
			}
			for i := range y {
				if mask[i] != 0 {
					y[i] /= sum
				}
			}
		}
	},
	Cost: func(p SoftmaxParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 40 * n, Bytes: 12 * n}
	},
	Inputs: func(_ SoftmaxParams, n []int) map[string]Input {
		return map[string]Input{"mask": {I: slices.Repeat([]int32{1}, n[1])}}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, scale float64, lo, hi int) Case {
			n := int(rows.Max) * cols
			return Case{
				Params: SoftmaxParams{rows, uint32(cols)},
				Inputs: []Input{{N: n, Scale: scale}, integers(n, lo, hi), {N: n}},
				// exp and the sum are within a few units in the last place; below e^-87 exp is 0.
				Rtol: 3e-6, Atol: 1e-37,
			}
		}
		apart := call(N(9), 70, 1, 1, 2).named("rows far apart")
		apart.Inputs[0] = farApart(9, 70)
		// exp's 2 units in the last place, 2½ of a quotient, 2 roundings.
		exact := call(N(512), 2, 1, 1, 2).named("exponents from -3 to 0")
		exact.Rtol, exact.Inputs[0] = 7e-7, Input{F: make([]float32, 2*512)}
		for i := range 512 {
			exact.Inputs[0].F[2*i+1] = float32(i-512) * 3 / 512
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, 3, 0, 3) }), apart, exact,
			call(N(5), 70, 3, 1, 2).named("all columns"), call(N(5), 70, 3, 0, 1).named("no column"), call(N(5), 70, 80, 0, 2).named("large values"))
	},
})
