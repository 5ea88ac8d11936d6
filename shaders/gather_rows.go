package shaders

// GatherRowsParams are the parameters of GatherRows and ScatterRows.
type GatherRowsParams struct {
	Rows       Count
	Cols       uint32
	Base       uint32 // first entry of index to use
	Accumulate uint32
}

// GatherRows copies y[r] = x[index[Base+r]] for r < Rows, or adds.
var GatherRows = Declare(Decl[GatherRowsParams]{
	Name: "gather_rows",
	Bindings: []Binding{
		{Name: "index", Type: I32, Access: Read},
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p GatherRowsParams, b Buffers) {
		index, x, y := b.I32(0), b.F32(1), b.F32(2)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				moveRow(y[r*cols:][:cols], x[int(index[int(p.Base)+r])*cols:], p.Accumulate != 0)
			}
		})
	},
})

// ScatterRows copies y[index[Base+r]] = x[r] for r < Rows, or adds. The entries
// of index must differ from each other.
var ScatterRows = Declare(Decl[GatherRowsParams]{
	Name: "scatter_rows",
	Bindings: []Binding{
		{Name: "index", Type: I32, Access: Read},
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p GatherRowsParams, b Buffers) {
		index, x, y := b.I32(0), b.F32(1), b.F32(2)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				moveRow(y[int(index[int(p.Base)+r])*cols:][:cols], x[r*cols:], p.Accumulate != 0)
			}
		})
	},
})

func moveRow(to, from []float32, accumulate bool) {
	if accumulate {
		addTo(to, from)
	} else {
		copy(to, from)
	}
}
