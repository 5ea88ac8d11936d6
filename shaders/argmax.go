package shaders

// ArgMaxParams are the parameters of ArgMax.
type ArgMaxParams struct {
	Rows Count
	Cols uint32
	Base uint32 // first entry of y to write
}

// ArgMax writes the column of the largest value of every row of x [Rows,Cols],
// the first of equals, to y[Base+r].
var ArgMax = Declare(Decl[ArgMaxParams]{
	Name: "argmax",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Type: I32, Access: ReadWrite},
	},
	CPU: func(h Host, p ArgMaxParams, b Buffers) {
		x, y, cols := b.F32(0), b.I32(1), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row, best := x[r*cols:][:cols], 0
				for i, v := range row {
					if v > row[best] {
						best = i
					}
				}
				y[int(p.Base)+r] = int32(best)
			}
		})
	},
})
