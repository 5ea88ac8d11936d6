package shaders

// SwiGLUBackwardParams are the parameters of SwiGLUBackward.
type SwiGLUBackwardParams struct {
	N              Count // elements
	AccumulateGate uint32
	AccumulateUp   uint32
	Activation     uint32 // as SwiGLUParams'
}

// SwiGLUBackward computes, with s = sigmoid(gate),
//
//	dgate = dy·up·s·(1 + gate·(1 - s)),  dup = dy·gate·s
//
// and with GELUTanh dgate = dy·up·GELU'(gate), dup = dy·GELU(gate).
var SwiGLUBackward = Declare(Decl[SwiGLUBackwardParams]{
	Name: "swiglu_backward",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dgate", Access: ReadWrite},
		{Name: "dup", Access: ReadWrite},
	},
	Include:  []string{"exp", "exp_vec", "gelu", "glu"},
	Variants: elementwise(func(p SwiGLUBackwardParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"gate", "up", "dy", "dgate", "dup"}},
	Even:     func(p SwiGLUBackwardParams) bool { return p.N.Max%2 == 0 },
	Axes:     alongElements(func(p *SwiGLUBackwardParams) *Count { return &p.N }, "gate", "up", "dy", "dgate", "dup"),
	CPU: func(h Host, p SwiGLUBackwardParams, b Buffers) {
		gate, up, dy, dgate, dup := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			add := p.AccumulateGate != 0 || p.AccumulateUp != 0
			if add && p.AccumulateGate == 0 {
				clear(dgate[lo:hi])
			}
			if add && p.AccumulateUp == 0 {
				clear(dup[lo:hi])
			}
			product, release := h.Scratch(hi - lo)
			defer release()
			gatedUnitGradient(p.Activation, dgate[lo:hi], dup[lo:hi], gate[lo:hi], up[lo:hi], dy[lo:hi], product, add)
		})
	},
	Reference: func(p SwiGLUBackwardParams, b []Array) {
		for i := range int(p.N.Max) {
			y, slope := gatedUnitAt(p.Activation, b[0].F[i])
			up, dy := b[1].F[i], b[2].F[i]
			set(b[3].F, i, dy*up*slope, p.AccumulateGate)
			set(b[4].F, i, dy*y, p.AccumulateUp)
		}
	},
	Cost: func(p SwiGLUBackwardParams) Cost {
		return Cost{Flops: 30 * float64(p.N.Max), Bytes: 20 * float64(p.N.Max)}
	},
	Cases: func() []Case {
		return overActivations(swigluBackwardCases)
	},
})

func swigluBackwardCases(activation uint32) []Case {
	// As SwiGLU; the slope is a difference where it crosses 0.
	call := func(n Count, gate Input, addGate, addUp uint32) Case {
		m := int(n.Max)
		inputs := []Input{gate, {N: m, Scale: 1}, {N: m, Scale: 1}, output(m, addGate), output(m, addUp)}
		return Case{Params: SwiGLUBackwardParams{n, addGate, addUp, activation}, Inputs: inputs, Atol: 5e-6, Rtol: 5e-6}
	}
	cases := writingAndAdding(func(accumulate uint32) []Case {
		return overSizes(func(n Count) Case { return call(n, Input{N: int(n.Max), Scale: 3}, accumulate, accumulate) })
	})
	return append(cases,
		call(N(65), Input{N: 65, Scale: 3}, 1, 0).named("adding to dgate"),
		call(N(65), Input{N: 65, Scale: 3}, 0, 1).named("adding to dup"),
		call(N(len(extremes)), Input{F: extremes}, 0, 0).named("extremes"))
}
