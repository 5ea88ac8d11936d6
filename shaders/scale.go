package shaders

import "patchwork/shaders/simd"

// ScaleParams are the parameters of Scale.
type ScaleParams struct {
	N  Count
	At uint32 // entry of factor to use
}

// Scale computes y = x·factor[At], elementwise.
var Scale = Declare(Decl[ScaleParams]{
	Name: "scale",
	Bindings: []Binding{
		{Name: "factor", Access: Read},
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	CPU: func(h Host, p ScaleParams, b Buffers) {
		f, x, y := b.F32(0)[p.At], b.F32(1), b.F32(2)
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			simd.Scale(y[lo:hi], x[lo:hi], f)
		})
	},
})
