package shaders

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
		put(y, 0, float32(sumPieces(h, x[:p.N.At(h.Step())], func(v float32) float64 { return float64(v) })), p.Accumulate != 0)
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
		put(y, 0, float32(sumPieces(h, x[:p.N.At(h.Step())], func(v float32) float64 { return float64(v) * float64(v) })), p.Accumulate != 0)
	},
})

func sumPieces(h Host, x []float32, f func(float32) float64) float64 {
	const piece = 1 << 14
	sums := make([]float64, (len(x)+piece-1)/piece)
	h.Parallel(len(sums), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			var sum float64
			for _, v := range x[i*piece : min((i+1)*piece, len(x))] {
				sum += f(v)
			}
			sums[i] = sum
		}
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	return total
}
