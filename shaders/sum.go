package shaders

import "patchwork/shaders/simd"

// SumParams are the parameters of Sum and SumSquares.
type SumParams struct {
	N          Count
	Accumulate uint32
}

// Sum adds up the elements of x into y[0], in a fixed order.
var Sum = Declare(Decl[SumParams]{
	Name: "sum",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p SumParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		put(y, 0, float32(sumPieces(h, x[:p.N.At(h.Step())], total)), p.Accumulate != 0)
	},
})

// SumSquares adds up the squares of the elements of x into y[0], in a fixed
// order.
var SumSquares = Declare(Decl[SumParams]{
	Name: "sum_squares",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p SumParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		put(y, 0, float32(sumPieces(h, x[:p.N.At(h.Step())], simd.SumSquares)), p.Accumulate != 0)
	},
})

// sumPieces adds up f over pieces of x.
func sumPieces(h Host, x []float32, f func(piece []float32) float64) float64 {
	const piece = 1 << 14
	sums := make([]float64, (len(x)+piece-1)/piece)
	h.Parallel(len(sums), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			sums[i] = f(x[i*piece : min((i+1)*piece, len(x))])
		}
	})
	return total(sums)
}

func total[F float32 | float64](x []F) (sum float64) {
	for _, v := range x {
		sum += float64(v)
	}
	return sum
}
