package shaders

// AccumulateParams are the parameters of Accumulate.
type AccumulateParams struct {
	N Count // elements
}

// Accumulate computes y += x, elementwise.
var Accumulate = Declare(Decl[AccumulateParams]{
	Name: "accumulate",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Variants: elementwise(func(p AccumulateParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
	Even:     func(p AccumulateParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *AccumulateParams) *Count { return &p.N }, "x", "y"),
	CPU: func(h Host, p AccumulateParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) { addTo(y[lo:hi], x[lo:hi]) })
	},
	Reference: func(p AccumulateParams, b []Array) {
		for i := range int(p.N.Max) {
			b[1].F[i] += b[0].F[i]
		}
	},
	Cost: func(p AccumulateParams) Cost { return Cost{Flops: float64(p.N.Max), Bytes: 12 * float64(p.N.Max)} },
	Cases: func() []Case {
		return overSizes(func(n Count) Case {
			in := Input{N: int(n.Max), Scale: 1}
			return Case{Params: AccumulateParams{n}, Inputs: []Input{in, in}, Rtol: 1e-6} // one rounding
		})
	},
})
