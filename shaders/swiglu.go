package shaders

// SwiGLUParams are the parameters of SwiGLU.
type SwiGLUParams struct {
	N Count // elements
}

// SwiGLU computes y = gate·sigmoid(gate)·up, elementwise (Shazeer, "GLU
// variants improve transformer", 2020).
var SwiGLU = Declare(Decl[SwiGLUParams]{
	Name: "swiglu",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read},
		{Name: "y", Access: Write},
	},
	CPU: func(h Host, p SwiGLUParams, b Buffers) {
		gate, up, y := b.F32(0), b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			gate, up, y := gate[lo:hi], up[lo:hi], y[lo:hi]
			for i, g := range gate {
				y[i] = g * sigmoid32(g) * up[i]
			}
		})
	},
})
