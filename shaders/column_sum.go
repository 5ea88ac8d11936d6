package shaders

// ColumnSumParams are the parameters of ColumnSum.
type ColumnSumParams struct {
	Rows       Count
	Cols       uint32
	Accumulate uint32
}

// ColumnSum adds up the rows of x [Rows,Cols] into y [Cols]: the gradient of a
// bias. The order of the sum is fixed.
var ColumnSum = Declare(Decl[ColumnSumParams]{
	Name: "column_sum",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p ColumnSumParams, b Buffers) {
		x, y, cols := b.F32(0), b.F32(1), int(p.Cols)
		sumRows(h, p.Rows.At(h.Step()), p.Accumulate != 0, func(lo, hi int, acc []float32) {
			for r := lo; r < hi; r++ {
				addTo(acc, x[r*cols:])
			}
		}, y[:cols])
	},
})
