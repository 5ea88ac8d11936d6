package shaders

// SoftmaxBackwardParams are the parameters of SoftmaxBackward.
type SoftmaxBackwardParams struct {
	Rows       Count
	Cols       uint32
	Accumulate uint32
}

// SoftmaxBackward computes dx = y·(dy - Σ y·dy) along the last axis, from the
// outputs y [Rows,Cols] of Softmax.
var SoftmaxBackward = Declare(Decl[SoftmaxBackwardParams]{
	Name: "softmax_backward",
	Bindings: []Binding{
		{Name: "y", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	CPU: func(h Host, p SoftmaxBackwardParams, b Buffers) {
		y, dy, dx, cols := b.F32(0), b.F32(1), b.F32(2), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				y, dy, dx := y[r*cols:][:cols], dy[r*cols:][:cols], dx[r*cols:][:cols]
				var sum float64
				for i := range y {
					sum += float64(y[i]) * float64(dy[i])
				}
				for i := range dx {
					put(dx, i, float32(float64(y[i])*(float64(dy[i])-sum)), p.Accumulate != 0)
				}
			}
		})
	},
})
