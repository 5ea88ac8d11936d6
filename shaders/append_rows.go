package shaders

import "patchwork/shaders/simd"

// AppendRowsParams are the parameters of AppendRows.
type AppendRowsParams struct {
	Rows Count
	Cols uint32
	Slot uint32 `kernel:"layout"` // entry of the step block that holds the first row to write
	// Ring is the number of rows of y, after the last of which the first is written; the step block's
	// entry may be larger. 0: y holds all rows.
	Ring uint32 `kernel:"layout"`
}

// AppendRows copies x [Rows,Cols] to the rows of y that start at the step block's entry
// Slot. It appends keys and values to a cache, which may be a ring.
var AppendRows = Declare(Decl[AppendRowsParams]{
	Name: "append_rows",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Include:  []string{"ring"},
	Variants: elementwise(func(p AppendRowsParams) uint32 { return p.Rows.Max * p.Cols }),
	Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
	Even:     func(p AppendRowsParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p AppendRowsParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		rows, cols := p.Rows.At(h.Step()), int(p.Cols)
		first, ok := contiguousRows(h, rows, p.Slot, p.Ring)
		if !ok {
			for r := range rows {
				copy(y[ringRow(int(h.Step()[p.Slot])+r, p.Ring)*cols:][:cols], x[r*cols:])
			}
			return
		}
		y = y[first*cols:]
		h.Parallel(rows*cols, elementGrain, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) })
	},
	CPUNarrow: func(h Host, p AppendRowsParams, b Buffers, s Storage) bool {
		n := p.Rows.At(h.Step()) * int(p.Cols)
		first, ok := contiguousRows(h, p.Rows.At(h.Step()), p.Slot, p.Ring)
		if !ok {
			return false
		}
		first *= int(p.Cols)
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
			row := ringRow(first+i/int(p.Cols), p.Ring)
			b[1].F[row*int(p.Cols)+i%int(p.Cols)] = b[0].F[i]
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
		for _, c := range [][4]int{{7, 12, 6, 9}, {5, 3, 21, 8}, {3, 64, 2, 8}} { // rows, columns, the first row, and the ring's
			n := c[0] * c[1]
			cases = append(cases, Case{
				Params: AppendRowsParams{Rows: N(c[0]), Cols: uint32(c[1]), Slot: 5, Ring: uint32(c[3])}, Step: withWord(nil, 5, uint32(c[2])),
				Inputs: []Input{{N: n, Scale: 1}, {N: c[3] * c[1], Scale: 1}},
			}.named("%dx%d at %d in a ring of %d", c[0], c[1], c[2], c[3]))
		}
		return append(cases, long.named("one long row"))
	},
})

// ringRow is the row of a cache that is a ring of rows, 0 for one that is none.
func ringRow(row int, ring uint32) int {
	if ring != 0 {
		return row % int(ring)
	}
	return row
}

// contiguousRows returns the first row of a cache that a call writes; ok is false if it continues at
// the start of a ring.
func contiguousRows(h Host, rows int, slot, ring uint32) (first int, ok bool) {
	first = ringRow(int(h.Step()[slot]), ring)
	return first, ring == 0 || first+rows <= int(ring)
}
