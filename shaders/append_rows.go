package shaders

import "patchwork/shaders/simd"

// AppendRowsParams are the parameters of AppendRows.
type AppendRowsParams struct {
	Rows Count
	Cols uint32
	Slot uint32 `kernel:"layout"` // entry of the step block that holds the first row to write
}

// AppendRows copies x [Rows,Cols] to the rows of y that start at the step block's entry
// Slot. It appends keys and values to a cache.
var AppendRows = Declare(Decl[AppendRowsParams]{
	Name: "append_rows",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Variants: elementwise(func(p AppendRowsParams) uint32 { return p.Rows.Max * p.Cols }),
	Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
	Even:     func(p AppendRowsParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p AppendRowsParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		n := p.Rows.At(h.Step()) * int(p.Cols)
		y = y[int(h.Step()[p.Slot])*int(p.Cols):]
		h.Parallel(n, elementGrain, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) })
	},
	CPUNarrow: func(h Host, p AppendRowsParams, b Buffers, s Storage) bool {
		n, first := p.Rows.At(h.Step())*int(p.Cols), int(h.Step()[p.Slot])*int(p.Cols)
		h.Parallel(n, elementGrain, func(lo, hi int) {
			switch at, format := first+lo, s.Type.Format(); {
			case s.Bindings == 0b11:
				copy(b.U16(1)[at:], b.U16(0)[lo:hi])
			case s.Bindings == 0b01:
				simd.Unpack(format, b.F32(1)[at:], b.U16(0)[lo:hi])
			default:
				simd.Pack(format, b.U16(1)[at:], b.F32(0)[lo:hi])
			}
		})
		return true
	},
	Reference: func(p AppendRowsParams, b []Array) {
		first := int(b[2].I[p.Slot])
		for i := range int(p.Rows.Max * p.Cols) {
			b[1].F[first*int(p.Cols)+i] = b[0].F[i]
		}
	},
	Cost: func(p AppendRowsParams) Cost { return Cost{Bytes: 8 * float64(p.Rows.Max) * float64(p.Cols)} },
	Cases: func() []Case {
		cases := overRows(func(rows Count, cols int) Case {
			n := int(rows.Max)
			return Case{
				Params: AppendRowsParams{Rows: rows, Cols: uint32(cols), Slot: 5}, Step: withWord(nil, 5, 3),
				Inputs: []Input{{N: n * cols, Scale: 1}, {N: (n + 5) * cols, Scale: 1}},
			}
		})
		const many = 65535*64 + 1
		long := Case{Params: AppendRowsParams{Rows: N(1), Cols: many}, Inputs: []Input{{N: many, Scale: 1}, {N: many, Scale: 1}}}
		return append(cases, long.named("one long row"))
	},
})
