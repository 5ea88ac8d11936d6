package shaders

// GatherRowsParams are the parameters of GatherRows and ScatterRows.
type GatherRowsParams struct {
	Rows       Count
	Cols       uint32
	Base       uint32 `kernel:"layout"` // first entry of index to use
	Accumulate uint32
}

// GatherRows copies y[r] = x[index[Base+r]] for r < Rows, or adds.
var GatherRows = moveRows("gather_rows", 1, func(r, index int) (from, to int) { return index, r })

// ScatterRows copies y[index[Base+r]] = x[r] for r < Rows, or adds. The entries
// of index must differ from each other.
var ScatterRows = moveRows("scatter_rows", 2, func(r, index int) (from, to int) { return r, index })

// moveRows declares a kernel that copies rows of x to rows of y: rows returns which, for
// row r and its index, an index into binding indexed.
func moveRows(name string, indexed int, rows func(r, index int) (from, to int)) *Kernel {
	return Declare(Decl[GatherRowsParams]{
		Name: name,
		Bindings: []Binding{
			{Name: "index", Type: I32, Access: Read},
			{Name: "x", Access: Read},
			{Name: "y", Access: ReadWrite},
		},
		Include:  []string{"position"},
		Variants: rowwise(func(p GatherRowsParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
		Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
		Even:     func(p GatherRowsParams) bool { return p.Cols%2 == 0 },
		CPU: func(h Host, p GatherRowsParams, b Buffers) {
			index, x, y := b.I32(0), b.F32(1), b.F32(2)
			cols := int(p.Cols)
			h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
				for r := lo; r < hi; r++ {
					from, to := rows(r, int(index[int(p.Base)+r]))
					moveRow(y[to*cols:][:cols], x[from*cols:], p.Accumulate != 0)
				}
			})
		},
		Reference: func(p GatherRowsParams, b []Array) {
			index, x, y, d := b[0].I[p.Base:], b[1].F, b[2].F, int(p.Cols)
			for r := range int(p.Rows.Max) {
				from, to := rows(r, int(index[r]))
				for i := range d {
					set(y, to*d+i, x[from*d+i], p.Accumulate)
				}
			}
		},
		Cost: func(p GatherRowsParams) Cost {
			n := float64(p.Rows.Max) * float64(p.Cols)
			return Cost{Flops: n * float64(p.Accumulate), Bytes: n * float64(8+4*p.Accumulate)}
		},
		Inputs: func(p GatherRowsParams, n []int) map[string]Input {
			return map[string]Input{"index": distinctRows(n[0], n[indexed]/int(p.Cols))}
		},
		Cases: func() []Case {
			return writingAndAdding(func(accumulate uint32) []Case {
				return overRows(func(rows Count, cols int) Case {
					n := int(rows.Max)
					index := append([]int32{-1, -1}, permutation(n)...) // Base skips the first two
					return Case{
						Params: GatherRowsParams{Rows: rows, Cols: uint32(cols), Base: 2, Accumulate: accumulate},
						Inputs: []Input{{I: index}, {N: n * cols, Scale: 1}, output(n*cols, accumulate)},
						Rtol:   1e-6, // one rounding, when adding
					}
				})
			})
		},
	})
}

func moveRow(to, from []float32, accumulate bool) {
	if accumulate {
		addTo(to, from)
	} else {
		copy(to, from)
	}
}
