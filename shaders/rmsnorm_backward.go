package shaders

import "patchwork/shaders/simd"

// RMSNormBackwardParams are the parameters of RMSNormBackward.
type RMSNormBackwardParams struct {
	Rows        Count
	Cols        uint32
	AccumulateX uint32 // add to dx
	AccumulateW uint32 // add to dw
	WithW       uint32 // dw is wanted: a frozen layer needs none
}

// RMSNormBackward computes the gradients of RMSNorm from dy [Rows,Cols]:
//
//	dx = rstd·(g - x̂·mean(g·x̂)),  g = dy·w,  x̂ = x·rstd
//	dw = Σ dy·x̂
var RMSNormBackward = Declare(Decl[RMSNormBackwardParams]{
	Name: "rmsnorm_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "rstd", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
		{Name: "dw", Access: ReadWrite, Optional: true},
	},
	CPU: func(h Host, p RMSNormBackwardParams, b Buffers) {
		x, w, rstd, dy, dx, dw := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4), b.F32(5)
		cols := int(p.Cols)
		if p.WithW == 0 {
			h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
				unused := make([]float32, cols)
				for r := lo; r < hi; r++ {
					rmsNormRowBackward(x[r*cols:][:cols], w[:cols], dy[r*cols:][:cols], dx[r*cols:][:cols], unused, rstd[r], p.AccumulateX != 0)
				}
			})
			return
		}
		sumRows(h, p.Rows.At(h.Step()), p.AccumulateW != 0, func(lo, hi int, acc []float32) {
			for r := lo; r < hi; r++ {
				rmsNormRowBackward(x[r*cols:][:cols], w[:cols], dy[r*cols:][:cols], dx[r*cols:][:cols], acc, rstd[r], p.AccumulateX != 0)
			}
		}, dw[:cols])
	},
})

func rmsNormRowBackward(x, w, dy, dx, dw []float32, rstd float32, accumulate bool) {
	n := len(dy)
	sum := simd.RMSNormSums(dw[:n], dy, x, w, rstd)
	simd.RMSNormGradient(dx[:n], dy, w, x, rstd, float32(sum/float64(n))*rstd, accumulate)
}
