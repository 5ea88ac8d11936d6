package shaders

// SwiGLUBackwardParams are the parameters of SwiGLUBackward.
type SwiGLUBackwardParams struct {
	N              Count // elements
	AccumulateGate uint32
	AccumulateUp   uint32
}

// SwiGLUBackward computes, with s = sigmoid(gate),
//
//	dgate = dy·up·s·(1 + gate·(1 - s)),  dup = dy·gate·s
var SwiGLUBackward = Declare(Decl[SwiGLUBackwardParams]{
	Name: "swiglu_backward",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dgate", Access: ReadWrite},
		{Name: "dup", Access: ReadWrite},
	},
	CPU: func(h Host, p SwiGLUBackwardParams, b Buffers) {
		gate, up, dy, dgate, dup := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				g := gate[i]
				s := sigmoid32(g)
				put(dgate, i, dy[i]*up[i]*s*(1+g*(1-s)), p.AccumulateGate != 0)
				put(dup, i, dy[i]*g*s, p.AccumulateUp != 0)
			}
		})
	},
})
