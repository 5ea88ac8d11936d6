package shaders

// ScaleParams are the parameters of Scale.
type ScaleParams struct {
	N          Count  // elements
	Accumulate uint32 // 1: add to y
}

// Scale computes y = x·s for one factor s [1].
var Scale = Declare(Decl[ScaleParams]{
	Name: "scale",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "s", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Variants: elementwise(func(p ScaleParams) uint32 { return p.N.Max }),
	Axes:     alongElements(func(p *ScaleParams) *Count { return &p.N }, "x", "y"),
	CPU: func(h Host, p ScaleParams, b Buffers) {
		x, s, y := b.F32(0), b.F32(1)[0], b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				v := x[i] * s
				if p.Accumulate != 0 {
					v += y[i]
				}
				y[i] = v
			}
		})
	},
	Reference: func(p ScaleParams, b []Array) {
		for i := range int(p.N.Max) {
			set(b[2].F, i, b[0].F[i]*b[1].F[0], p.Accumulate)
		}
	},
	Cost: func(p ScaleParams) Cost {
		return Cost{Flops: float64(p.N.Max), Bytes: float64(8+4*p.Accumulate) * float64(p.N.Max)}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return overSizes(func(n Count) Case {
				m := int(n.Max)
				// A product, and a sum that may cancel.
				return Case{Params: ScaleParams{n, accumulate}, Inputs: []Input{{N: m, Scale: 1}, {N: 1, Scale: 1}, output(m, accumulate)}, Atol: 1e-6, Rtol: 1e-6}
			})
		})
	},
})
