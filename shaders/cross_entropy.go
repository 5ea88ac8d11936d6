package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// CrossEntropyParams are the parameters of CrossEntropy.
type CrossEntropyParams struct {
	Rows      Count
	Cols      uint32  // V
	Base      uint32  // first entry of targets and nll to use
	Grad      uint32  // 1: replace the logits by their gradient
	Scale     float32 // of the gradient
	ScaleSlot uint32  // step block entry (f32) that multiplies Scale; 0 = none
}

// CrossEntropy computes nll[Base+r] = log Σ exp(logits[r]) - logits[r,target]
// for logits [Rows,V] and targets[Base+r], 0 for the target -100, and with Grad
// replaces the logits by the gradient of the scaled sum of the nll.
var CrossEntropy = Declare(Decl[CrossEntropyParams]{
	Name: "cross_entropy",
	Bindings: []Binding{
		{Name: "targets", Type: I32, Access: Read},
		{Name: "logits", Access: ReadWrite},
		{Name: "nll", Access: ReadWrite},
	},
	CPU: func(h Host, p CrossEntropyParams, b Buffers) {
		targets, logits, nll := b.I32(0), b.F32(1), b.F32(2)
		cols, base, scale := int(p.Cols), int(p.Base), p.Scale
		if p.ScaleSlot != 0 {
			scale *= math.Float32frombits(h.Step()[p.ScaleSlot])
		}
		h.Parallel(p.Rows.At(h.Step()), rowGrain(4*cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				nll[base+r] = crossEntropyRow(logits[r*cols:][:cols], int(targets[base+r]), p.Grad != 0, scale)
			}
		})
	},
})

// Ignore is the target that does not count.
const Ignore = -100

func crossEntropyRow(x []float32, target int, grad bool, scale float32) float32 {
	if target < 0 {
		if grad {
			clear(x)
		}
		return 0
	}
	most, at := simd.Max(x), x[target]
	if !grad {
		return float32(math.Log(expSum(x, most))) + most - at
	}
	sum := simd.ExpSum(x, x, most)
	simd.Scale(x, x, float32(float64(scale)/sum))
	x[target] -= scale
	return float32(math.Log(sum)) + most - at
}

// expSum is Σ exp(x - shift), x staying as it is.
func expSum(x []float32, shift float32) (sum float64) {
	y := make([]float32, min(len(x), 1024))
	for lo := 0; lo < len(x); lo += len(y) {
		n := min(len(y), len(x)-lo)
		sum += simd.ExpSum(y[:n], x[lo:lo+n], shift)
	}
	return sum
}
