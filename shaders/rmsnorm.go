package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// RMSNormParams are the parameters of RMSNorm.
type RMSNormParams struct {
	Rows Count
	Cols uint32
	Eps  float32
}

// RMSNorm computes y = x·rstd·w along the last axis of x [Rows,Cols],
// rstd = 1/sqrt(mean(x²) + eps), kept in rstd [Rows].
var RMSNorm = Declare(Decl[RMSNormParams]{
	Name: "rmsnorm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "y", Access: Write},
		{Name: "rstd", Access: Write},
	},
	CPU: func(h Host, p RMSNormParams, b Buffers) {
		x, w, y, rstd := b.F32(0), b.F32(1), b.F32(2), b.F32(3)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y, w := x[r*cols:][:cols], y[r*cols:][:cols], w[:cols]
				rstd[r] = float32(1 / math.Sqrt(simd.SumSquares(x)/float64(cols)+float64(p.Eps)))
				simd.RMSNorm(y, x, w, rstd[r])
			}
		})
	},
})
