package shaders

import "patchwork/shaders/simd"

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
			simd.SwiGLU(y[lo:hi], gate[lo:hi], up[lo:hi])
		})
	},
})
