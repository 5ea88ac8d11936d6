package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// SoftCapParams are the parameters of SoftCap.
type SoftCapParams struct {
	N   uint32 // elements
	Cap float32
}

// SoftCap computes y = Cap·tanh(x/Cap), elementwise: the limit that Gemma sets to logits (Gemma Team,
// "Gemma 2", 2024). In a loss it is part of CrossEntropy.
var SoftCap = Declare(Decl[SoftCapParams]{
	Name:     "softcap",
	Bindings: []Binding{{Name: "x", Access: Read}, {Name: "y", Access: Write}},
	Include:  []string{"exp", "tanh"},
	Variants: elementwise(func(p SoftCapParams) uint32 { return p.N }),
	Axes: func(p SoftCapParams) []Axis {
		return []Axis{{p.N, elementSpans("x", "y"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p SoftCapParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) { softCapRow(y[lo:hi], x[lo:hi], p.Cap) })
	},
	Reference: func(p SoftCapParams, b []Array) {
		for i := range int(p.N) {
			b[1].F[i], _ = softCapAt(float64(p.Cap), b[0].F[i])
		}
	},
	Cost: func(p SoftCapParams) Cost { return Cost{Flops: 20 * float64(p.N), Bytes: 8 * float64(p.N)} },
	Cases: func() []Case {
		var cases []Case
		call := func(n int, x Input, limit float32) {
			// exp is within two units in the last place, and 1 - 2/(e+1) within a few of 1.
			c := Case{Params: SoftCapParams{uint32(n), limit}, Inputs: []Input{x, {N: n}}, Atol: 3e-7 * float64(limit), Rtol: 1e-6}
			cases = append(cases, c.named("n=%d, capped at %g", n, limit))
		}
		for _, n := range []int{1, 65, 1024, beyondGroups} {
			call(n, Input{N: n, Scale: 40}, 30)
		}
		call(130, Input{N: 130, Scale: 1}, 0.5)
		call(len(extremes), Input{F: extremes}, 30)
		return cases
	},
})

// softCapAt is the soft cap, 0 for none, and its derivative in float64.
func softCapAt(limit, x float64) (y, slope float64) {
	if limit == 0 {
		return x, 1
	}
	t := math.Tanh(x / limit)
	return limit * t, 1 - t*t
}

// softCapRow computes limit·tanh(x/limit) as limit·(1 - 2/(e^(2x/limit) + 1)).
func softCapRow(y, x []float32, limit float32) {
	simd.Scale(y, x, 2/limit)
	simd.ExpSum(y, y, 0)
	for i, e := range y {
		y[i] = limit * (1 - 2/(e+1))
	}
}
