package shaders

// LayerNormBackwardParams are the parameters of LayerNormBackward.
type LayerNormBackwardParams struct {
	Rows        Count
	Cols        uint32
	AccumulateX uint32 // add to dx
	AccumulateW uint32 // add to dw and db
	WithX       uint32 // dx is wanted: pixels need none
	WithW       uint32 // dw and db are wanted: a frozen layer needs none
}

// LayerNormBackward computes the gradients of LayerNorm from dy [Rows,Cols]:
//
//	dx = rstd·(g - mean(g) - x̂·mean(g·x̂)),  g = dy·w,  x̂ = (x - mean)·rstd
//	dw = Σ dy·x̂,  db = Σ dy
var LayerNormBackward = Declare(Decl[LayerNormBackwardParams]{
	Name: "layernorm_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "mean", Access: Read},
		{Name: "rstd", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite, Optional: true},
		{Name: "dw", Access: ReadWrite, Optional: true},
		{Name: "db", Access: ReadWrite, Optional: true},
	},
	CPU: func(h Host, p LayerNormBackwardParams, bufs Buffers) {
		x, w, mean, rstd, dy := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4)
		dx, dw, db := bufs.F32(5), bufs.F32(6), bufs.F32(7)
		cols := int(p.Cols)
		if p.WithW == 0 {
			h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
				for r := lo; r < hi; r++ {
					layerNormRowBackward(x[r*cols:][:cols], w[:cols], dy[r*cols:][:cols], dx[r*cols:][:cols], mean[r], rstd[r], p.AccumulateX != 0)
				}
			})
			return
		}
		sumRows(h, p.Rows.At(h.Step()), p.AccumulateW != 0, func(lo, hi int, acc []float32) {
			accW, accB := acc[:cols], acc[cols:]
			for r := lo; r < hi; r++ {
				x, dy := x[r*cols:][:cols], dy[r*cols:][:cols]
				m, s := mean[r], rstd[r]
				for i := range dy {
					accW[i] += dy[i] * (x[i] - m) * s
					accB[i] += dy[i]
				}
				if p.WithX != 0 {
					layerNormRowBackward(x, w[:cols], dy, dx[r*cols:][:cols], m, s, p.AccumulateX != 0)
				}
			}
		}, dw[:cols], db[:cols])
	},
})

func layerNormRowBackward(x, w, dy, dx []float32, mean, rstd float32, accumulate bool) {
	var sum, sumX float64
	for i := range dy {
		g := float64(dy[i] * w[i])
		sum += g
		sumX += g * float64((x[i]-mean)*rstd)
	}
	a, b := float32(sum/float64(len(dy))), float32(sumX/float64(len(dy)))
	for i := range dx {
		put(dx, i, rstd*(dy[i]*w[i]-a-(x[i]-mean)*rstd*b), accumulate)
	}
}
