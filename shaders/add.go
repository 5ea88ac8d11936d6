package shaders

import "patchwork/shaders/simd"

// AddParams are the parameters of Add.
type AddParams struct {
	N Count // elements
}

// Add computes y = a + b, elementwise.
var Add = Declare(Decl[AddParams]{
	Name: "add",
	Bindings: []Binding{
		{Name: "a", Access: Read},
		{Name: "b", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: elementwise(func(p AddParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"a", "b", "y"}},
	Even:     func(p AddParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *AddParams) *Count { return &p.N }, "a", "b", "y"),
	CPU: func(h Host, p AddParams, bufs Buffers) {
		a, b, y := bufs.F32(0), bufs.F32(1), bufs.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			simd.Add(y[lo:hi], a[lo:hi], b[lo:hi])
		})
	},
	Reference: func(p AddParams, b []Array) {
		for i := range p.N.Max {
			b[2].F[i] = b[0].F[i] + b[1].F[i]
		}
	},
	Cost: func(p AddParams) Cost { return Cost{Flops: float64(p.N.Max), Bytes: 12 * float64(p.N.Max)} },
	Cases: func() []Case {
		return overSizes(func(n Count) Case {
			m := int(n.Max)
			return Case{Params: AddParams{n}, Inputs: []Input{{N: m, Scale: 1}, {N: m, Scale: 1}, {N: m}}, Rtol: 1e-6} // one rounding
		})
	},
})
