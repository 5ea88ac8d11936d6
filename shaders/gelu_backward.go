package shaders

// GELUBackwardParams are the parameters of GELUBackward.
type GELUBackwardParams struct {
	N          Count // elements
	Accumulate uint32
}

// GELUBackward computes dx = dy·GELU'(x), elementwise.
var GELUBackward = Declare(Decl[GELUBackwardParams]{
	Name: "gelu_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	CPU: func(h Host, p GELUBackwardParams, b Buffers) {
		x, dy, dx := b.F32(0), b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				put(dx, i, dy[i]*geluSlope(x[i]), p.Accumulate != 0)
			}
		})
	},
})
