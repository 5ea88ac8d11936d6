package shaders

// AppendRowsParams are the parameters of AppendRows.
type AppendRowsParams struct {
	Rows Count
	Cols uint32
	Slot uint32 // entry of the step block that holds the first row to write
}

// AppendRows copies x [Rows,Cols] to the rows of y that start at the step
// block's entry Slot: how keys and values enter a cache.
var AppendRows = Declare(Decl[AppendRowsParams]{
	Name: "append_rows",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p AppendRowsParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		n := p.Rows.At(h.Step()) * int(p.Cols)
		copy(y[int(h.Step()[p.Slot])*int(p.Cols):][:n], x[:n])
	},
})
