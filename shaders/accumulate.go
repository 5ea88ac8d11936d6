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
	CPU: func(h Host, p AccumulateParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) { addTo(y[lo:hi], x[lo:hi]) })
	},
})
