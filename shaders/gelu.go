package shaders

import (
	"math"
	"slices"

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
	Include:  []string{"exp", "exp_vec", "gelu"},
	Variants: elementwise(func(p GELUParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"x", "y"}},
	Even:     func(p GELUParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *GELUParams) *Count { return &p.N }, "x", "y"),
	CPU: func(h Host, p GELUParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = x[i] * simd.Sigmoid(geluInner(x[i]))
			}
		})
	},
	Reference: func(p GELUParams, b []Array) {
		for i := range int(p.N.Max) {
			x := b[0].F[i]
			b[1].F[i] = x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}
	},
	Cost: func(p GELUParams) Cost { return Cost{Flops: 30 * float64(p.N.Max), Bytes: 8 * float64(p.N.Max)} },
	Cases: func() []Case {
		return slices.Concat(
			overSizes(func(n Count) Case {
				// The rounding of the sigmoid's argument, up to 20 where it counts.
				return Case{Params: GELUParams{n}, Inputs: []Input{{N: int(n.Max), Scale: 3}, {N: int(n.Max)}}, Atol: 1e-6, Rtol: 5e-6}
			}),
			[]Case{Case{Params: GELUParams{N(len(extremes))}, Inputs: []Input{{F: extremes}, {N: len(extremes)}}, Atol: 1e-6, Rtol: 1e-6}.named("extremes")},
		)
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

// extremes are arguments at which an activation is 0, itself, or near overflow.
var extremes = []float32{0, -100, 100, -88, 88, -20, 20, -1e4, 1e4, -1e20, 1e20, -1e38, 1e38}
