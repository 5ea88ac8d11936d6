package shaders

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// SwiGLUParams are the parameters of SwiGLU.
type SwiGLUParams struct {
	N Count // elements of y
	// Cols says that there is no up: gate [N/Cols,2·Cols] holds both, side by side in
	// every row. 0: both are as y.
	Cols uint32
}

// SwiGLU computes y = gate·sigmoid(gate)·up, elementwise (Shazeer, "GLU
// variants improve transformer", 2020).
var SwiGLU = Declare(Decl[SwiGLUParams]{
	Name: "swiglu",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read, Optional: true},
		{Name: "y", Access: Write},
	},
	Include:  []string{"exp", "exp_vec"},
	Variants: elementwise(func(p SwiGLUParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"gate", "up", "y"}, {"gate", "y"}},
	Even:     func(p SwiGLUParams) bool { return p.N.Max%2 == 0 && p.Cols%2 == 0 },
	Axes: func(p SwiGLUParams) []Axis {
		return sideBySide{int(p.Cols)}.axes(p.N, []string{"gate"}, []string{"up", "y"}, func(n Count) any { p.N = n; return p })
	},
	CPU: func(h Host, p SwiGLUParams, b Buffers) {
		gate, up, y := b.F32(0), b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			sideBySide{int(p.Cols)}.pieces(lo, hi, gate, up, func(lo, hi int, gate, up []float32) {
				simd.SwiGLU(y[lo:hi], gate, up)
			})
		})
	},
	Reference: func(p SwiGLUParams, b []Array) {
		for i := range int(p.N.Max) {
			pairs := sideBySide{int(p.Cols)}
			gateAt, upAt := pairs.places(i)
			gate, up := b[0].F[gateAt], pairs.upsOf(b[0].F, b[1].F)[upAt]
			b[2].F[i] = gate / (1 + math.Exp(-gate)) * up
		}
	},
	Cost: func(p SwiGLUParams) Cost { return Cost{Flops: 20 * float64(p.N.Max), Bytes: 12 * float64(p.N.Max)} },
	Cases: func() []Case {
		return slices.Concat(
			overSizes(func(n Count) Case {
				m := int(n.Max)
				// exp is within two units in the last place, the rest are four roundings.
				return Case{Params: SwiGLUParams{N: n}, Inputs: []Input{{N: m, Scale: 5}, {N: m, Scale: 2}, {N: m}}, Atol: 1e-7, Rtol: 2e-6}
			}),
			[]Case{Case{
				Params: SwiGLUParams{N: N(len(extremes))}, Inputs: []Input{{F: extremes}, {N: len(extremes), Scale: 1}, {N: len(extremes)}},
				Atol: 1e-6, Rtol: 2e-6,
			}.named("extremes")},
			overPairs(func(n Count, cols int) Case {
				m := int(n.Max)
				inputs := []Input{{N: 2 * m, Scale: 2}, {Absent: true}, {N: m}}
				return Case{Params: SwiGLUParams{n, uint32(cols)}, Inputs: inputs, Atol: 1e-7, Rtol: 2e-6}
			}),
		)
	},
})
