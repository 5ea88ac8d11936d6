package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// GELUParams are the parameters of GELU.
type GELUParams struct {
	N Count // elements
}

// GELU computes y = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), elementwise: the
// tanh form of Hendrycks and Gimpel, "Gaussian error linear units", 2016.
var GELU = Declare(Decl[GELUParams]{
	Name: "gelu",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	CPU: func(h Host, p GELUParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = x[i] * simd.Sigmoid(geluInner(x[i]))
			}
		})
	},
})

// geluInner is 2√(2/π)·(x + 0.044715·x³): (1 + tanh(u/2))/2 = sigmoid(u).
func geluInner(x float32) float32 {
	const c = 2 * 0.7978845608028654 // 2√(2/π)
	return c * (x + 0.044715*x*x*x)
}

// geluSlope is the derivative of GELU.
func geluSlope(x float32) float32 {
	const c = 2 * 0.7978845608028654
	s := simd.Sigmoid(geluInner(x))
	inner := c * (1 + 3*0.044715*x*x)
	if math.IsInf(float64(inner), 0) {
		return s
	}
	return s + x*s*(1-s)*inner
}
