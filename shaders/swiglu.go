package shaders

// SwiGLUParams are the parameters of SwiGLU.
type SwiGLUParams struct {
	N          Count  // elements
	Activation uint32 // SiLU or GELUTanh
}

// SwiGLU computes y = gate·sigmoid(gate)·up, elementwise, or, with GELUTanh, y = GELU(gate)·up:
// GeGLU (Shazeer, "GLU variants improve transformer", 2020).
var SwiGLU = Declare(Decl[SwiGLUParams]{
	Name: "swiglu",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"exp", "exp_vec", "gelu", "glu"},
	Variants: elementwise(func(p SwiGLUParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"gate", "up", "y"}},
	Even:     func(p SwiGLUParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *SwiGLUParams) *Count { return &p.N }, "gate", "up", "y"),
	CPU: func(h Host, p SwiGLUParams, b Buffers) {
		gate, up, y := b.F32(0), b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			gatedUnit(p.Activation, y[lo:hi], gate[lo:hi], up[lo:hi])
		})
	},
	Reference: func(p SwiGLUParams, b []Array) {
		for i := range int(p.N.Max) {
			y, _ := gatedUnitAt(p.Activation, b[0].F[i])
			b[2].F[i] = y * b[1].F[i]
		}
	},
	Cost: func(p SwiGLUParams) Cost { return Cost{Flops: 20 * float64(p.N.Max), Bytes: 12 * float64(p.N.Max)} },
	Cases: func() []Case {
		return overActivations(func(activation uint32) []Case {
			return append(overSizes(func(n Count) Case {
				m := int(n.Max)
				// exp is within two units in the last place, the rest are four roundings. GELU's: as
				// in gelu.go.
				c := Case{Params: SwiGLUParams{n, activation}, Inputs: []Input{{N: m, Scale: 5}, {N: m, Scale: 2}, {N: m}}, Atol: 1e-7, Rtol: 2e-6}
				if activation == GELUTanh {
					c.Atol, c.Rtol = 5e-6, 5e-6
				}
				return c
			}), Case{
				Params: SwiGLUParams{N(len(extremes)), activation}, Inputs: []Input{{F: extremes}, {N: len(extremes), Scale: 1}, {N: len(extremes)}},
				Atol: 1e-6, Rtol: 2e-6,
			}.named("extremes"))
		})
	},
})
