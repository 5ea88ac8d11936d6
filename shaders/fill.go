package shaders

// FillParams are the parameters of Fill.
type FillParams struct {
	N     uint32 // elements
	Value float32
}

// Fill sets every element of y.
var Fill = Declare(Decl[FillParams]{
	Name:     "fill",
	Bindings: []Binding{{Name: "y", Access: Write}},
	CPU: func(h Host, p FillParams, b Buffers) {
		y := b.F32(0)
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			for i := range y[lo:hi] {
				y[lo+i] = p.Value
			}
		})
	},
})
