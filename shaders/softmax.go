package shaders

import (
	"math"

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
	CPU: func(h Host, p SoftmaxParams, b Buffers) {
		x, mask, y, cols := b.F32(0), b.I32(1), b.F32(2), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				softmaxRow(x[r*cols:][:cols], mask[r*cols:][:cols], y[r*cols:][:cols])
			}
		})
	},
})

func softmaxRow(x []float32, mask []int32, y []float32) {
	most := float32(math.Inf(-1))
	for i, v := range x {
		if mask[i] != 0 && v > most {
			most = v
		}
	}
	var sum float64
	for i, v := range x {
		y[i] = 0
		if mask[i] != 0 {
			y[i] = simd.Exp(v - most)
			sum += float64(y[i])
		}
	}
	if sum == 0 {
		return
	}
	inverse := float32(1 / sum)
	for i := range y {
		y[i] *= inverse
	}
}
