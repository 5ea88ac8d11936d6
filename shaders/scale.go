package shaders

import "patchwork/shaders/simd"

// ScaleParams are the parameters of Scale.
type ScaleParams struct {
	N  Count
	At uint32 // entry of factor to use
}

// Scale computes y = x·factor[At], elementwise.
var Scale = Declare(Decl[ScaleParams]{
	Name: "scale",
	Bindings: []Binding{
		{Name: "factor", Access: Read},
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: elementwise(func(p ScaleParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"x", "y"}},
	Even:     func(p ScaleParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *ScaleParams) *Count { return &p.N }, "x", "y"),
	CPU: func(h Host, p ScaleParams, b Buffers) {
		f, x, y := b.F32(0)[p.At], b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			simd.Scale(y[lo:hi], x[lo:hi], f)
		})
	},
	Reference: func(p ScaleParams, b []Array) {
		for i := range int(p.N.Max) {
			b[2].F[i] = b[1].F[i] * b[0].F[p.At]
		}
	},
	Cost: func(p ScaleParams) Cost { return Cost{Flops: float64(p.N.Max), Bytes: 8 * float64(p.N.Max)} },
	Cases: func() []Case {
		return overSizes(func(n Count) Case {
			inputs := []Input{{N: 2, Scale: 1}, {N: int(n.Max), Scale: 1e10}, {N: int(n.Max)}}
			return Case{Params: ScaleParams{N: n, At: 1}, Inputs: inputs, Rtol: 1e-6} // one rounding
		})
	},
})
