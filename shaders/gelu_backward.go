package shaders

import (
	"math"
	"slices"
)

// GELUBackwardParams are the parameters of GELUBackward.
type GELUBackwardParams struct {
	N          Count // elements
	Accumulate uint32
}

// GELUBackward computes dx = dy·GELU'(x), elementwise.
var GELUBackward = Declare(Decl[GELUBackwardParams]{
	Name: "gelu_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	Include:  []string{"exp", "exp_vec", "gelu"},
	Variants: elementwise(func(p GELUBackwardParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"x", "dy", "dx"}},
	Even:     func(p GELUBackwardParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *GELUBackwardParams) *Count { return &p.N }, "x", "dy", "dx"),
	CPU: func(h Host, p GELUBackwardParams, b Buffers) {
		x, dy, dx := b.F32(0), b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				put(dx, i, dy[i]*geluSlope(x[i]), p.Accumulate != 0)
			}
		})
	},
	Reference: func(p GELUBackwardParams, b []Array) {
		c := math.Sqrt(2 / math.Pi)
		for i := range int(p.N.Max) {
			x := b[0].F[i]
			t := math.Tanh(c * (x + 0.044715*x*x*x))
			slope := (1 + t) / 2
			if t*t < 1 {
				slope += x / 2 * (1 - t*t) * c * (1 + 3*0.044715*x*x)
			}
			set(b[2].F, i, b[1].F[i]*slope, p.Accumulate)
		}
	},
	Cost: func(p GELUBackwardParams) Cost {
		return Cost{Flops: 40 * float64(p.N.Max), Bytes: 12 * float64(p.N.Max)}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return slices.Concat(
				overSizes(func(n Count) Case {
					m := int(n.Max)
					inputs := []Input{{N: m, Scale: 3}, {N: m, Scale: 1}, output(m, accumulate)}
					// As GELU, and the slope is a difference where it crosses 0.
					return Case{Params: GELUBackwardParams{n, accumulate}, Inputs: inputs, Atol: 1e-5, Rtol: 1e-5}
				}),
				[]Case{Case{
					Params: GELUBackwardParams{N(len(extremes)), accumulate},
					Inputs: []Input{{F: extremes}, {N: len(extremes), Scale: 1}, output(len(extremes), accumulate)},
					Atol:   1e-6, Rtol: 1e-6,
				}.named("extremes")},
			)
		})
	},
})
