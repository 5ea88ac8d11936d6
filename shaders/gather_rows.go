package shaders

// GatherRowsParams are the parameters of GatherRows and ScatterRows.
type GatherRowsParams struct {
	Rows       Count
	Cols       uint32
	Base       uint32 `kernel:"layout"` // first entry of index to use
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
	Include:  []string{"position"},
	Variants: rowwise(func(p GatherRowsParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
	Even:     func(p GatherRowsParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p GatherRowsParams, b Buffers) {
		index, x, y := b.I32(0), b.F32(1), b.F32(2)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				moveRow(y[r*cols:][:cols], x[int(index[int(p.Base)+r])*cols:], p.Accumulate != 0)
			}
		})
	},
	Reference: func(p GatherRowsParams, b []Array) {
		index, x, y, d := b[0].I[p.Base:], b[1].F, b[2].F, int(p.Cols)
		for i := range int(p.Rows.Max) * d {
			set(y, i, x[int(index[i/d])*d+i%d], p.Accumulate)
		}
	},
	Cost: gatherCost,
	Inputs: func(p GatherRowsParams, n []int) map[string]Input {
		return map[string]Input{"index": distinctRows(n[0], n[1]/int(p.Cols))}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return overRows(func(rows Count, cols int) Case {
				n := int(rows.Max)
				index := append([]int32{-1, -1}, permutation(n)...) // Base leaves the first two out
				return Case{
					Params: GatherRowsParams{Rows: rows, Cols: uint32(cols), Base: 2, Accumulate: accumulate},
					Inputs: []Input{{I: index}, {N: n * cols, Scale: 1}, output(n*cols, accumulate)},
					Rtol:   1e-6, // one rounding, when adding
				}
			})
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
	Include:  []string{"position"},
	Variants: rowwise(func(p GatherRowsParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "y"}, {"x"}, {"y"}},
	Even:     func(p GatherRowsParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p GatherRowsParams, b Buffers) {
		index, x, y := b.I32(0), b.F32(1), b.F32(2)
		cols := int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				moveRow(y[int(index[int(p.Base)+r])*cols:][:cols], x[r*cols:], p.Accumulate != 0)
			}
		})
	},
	Reference: func(p GatherRowsParams, b []Array) {
		index, x, y, d := b[0].I[p.Base:], b[1].F, b[2].F, int(p.Cols)
		for i := range int(p.Rows.Max) * d {
			set(y, int(index[i/d])*d+i%d, x[i], p.Accumulate)
		}
	},
	Cost: gatherCost,
	Inputs: func(p GatherRowsParams, n []int) map[string]Input {
		return map[string]Input{"index": distinctRows(n[0], n[2]/int(p.Cols))}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return overRows(func(rows Count, cols int) Case {
				n := int(rows.Max)
				index := append([]int32{-1, -1}, permutation(n)...) // Base leaves the first two out
				return Case{
					Params: GatherRowsParams{Rows: rows, Cols: uint32(cols), Base: 2, Accumulate: accumulate},
					Inputs: []Input{{I: index}, {N: n * cols, Scale: 1}, output(n*cols, accumulate)},
					Rtol:   1e-6, // one rounding, when adding
				}
			})
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

func gatherCost(p GatherRowsParams) Cost {
	n := float64(p.Rows.Max) * float64(p.Cols)
	return Cost{Flops: n * float64(p.Accumulate), Bytes: n * float64(8+4*p.Accumulate)}
}
