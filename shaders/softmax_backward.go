package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// SoftmaxBackwardParams are the parameters of SoftmaxBackward.
type SoftmaxBackwardParams struct {
	Rows       Count
	Cols       uint32
	Accumulate uint32
}

// SoftmaxBackward computes dx = y·(dy - Σ y·dy) along the last axis, from the
// outputs y [Rows,Cols] of Softmax.
var SoftmaxBackward = Declare(Decl[SoftmaxBackwardParams]{
	Name: "softmax_backward",
	Bindings: []Binding{
		{Name: "y", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	Include:  []string{"sum", "group"},
	Variants: rowReduction(func(p SoftmaxBackwardParams) uint32 { return p.Cols }, DeclPass[SoftmaxBackwardParams]{Grid: func(p SoftmaxBackwardParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Axes: alongCount(func(p *SoftmaxBackwardParams) *Count { return &p.Rows }, func(p SoftmaxBackwardParams) map[string]int64 {
		return map[string]int64{"y": rowBytes(p.Cols), "dy": rowBytes(p.Cols), "dx": rowBytes(p.Cols)}
	}, nil),
	CPU: func(h Host, p SoftmaxBackwardParams, b Buffers) {
		y, dy, dx, cols := b.F32(0), b.F32(1), b.F32(2), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				y, dy, dx := y[r*cols:][:cols], dy[r*cols:][:cols], dx[r*cols:][:cols]
				simd.SoftmaxGradient(dx, y, dy, float32(simd.Dot(y, dy)), p.Accumulate != 0)
			}
		})
	},
	Reference: func(p SoftmaxBackwardParams, b []Array) {
		cols := int(p.Cols)
		for r := range int(p.Rows.Max) {
			var sum float64
			for i := r * cols; i < (r+1)*cols; i++ {
				sum += b[0].F[i] * b[1].F[i]
			}
			for i := r * cols; i < (r+1)*cols; i++ {
				set(b[2].F, i, b[0].F[i]*(b[1].F[i]-sum), p.Accumulate)
			}
		}
	},
	Cost: func(p SoftmaxBackwardParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 4 * n, Bytes: 12 * n}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return overRows(func(rows Count, cols int) Case {
				n := int(rows.Max) * cols
				return Case{
					Params: SoftmaxBackwardParams{rows, uint32(cols), accumulate},
					Inputs: []Input{{N: n, Scale: 1}, {N: n, Scale: 1}, output(n, accumulate)},
					Atol:   1e-6 * math.Sqrt(float64(cols)), Rtol: 1e-6, // the row's sum has that size
				}
			})
		})
	},
})
