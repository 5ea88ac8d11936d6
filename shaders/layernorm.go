package shaders

import "math"

// LayerNormParams are the parameters of LayerNorm.
type LayerNormParams struct {
	Rows Count
	Cols uint32
	Eps  float32
}

// LayerNorm computes y = (x - mean)·rstd·w + b along the last axis of
// x [Rows,Cols], rstd = 1/sqrt(var + eps), var without Bessel's correction;
// mean and rstd [Rows] are kept for the backward pass.
var LayerNorm = Declare(Decl[LayerNormParams]{
	Name: "layernorm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "b", Access: Read},
		{Name: "y", Access: Write},
		{Name: "mean", Access: Write},
		{Name: "rstd", Access: Write},
	},
	CPU: func(h Host, p LayerNormParams, bufs Buffers) {
		x, w, b, y, mean, rstd := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4), bufs.F32(5)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y, w, b := x[r*cols:][:cols], y[r*cols:][:cols], w[:cols], b[:cols]
				m, v := moments(x)
				s := float32(1 / math.Sqrt(v+float64(p.Eps)))
				mean[r], rstd[r] = float32(m), s
				for i := range y {
					y[i] = float32(float64(x[i])-m)*s*w[i] + b[i]
				}
			}
		})
	},
})

// moments returns the mean and the variance of x.
func moments(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, variance / float64(len(x))
}
