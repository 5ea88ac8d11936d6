package shaders

import "patchwork/shaders/simd"

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
			add := p.AccumulateGate != 0 || p.AccumulateUp != 0
			if add && p.AccumulateGate == 0 {
				clear(dgate[lo:hi])
			}
			if add && p.AccumulateUp == 0 {
				clear(dup[lo:hi])
			}
			simd.SwiGLUGradient(dgate[lo:hi], dup[lo:hi], gate[lo:hi], up[lo:hi], dy[lo:hi], add)
		})
	},
})
