package shaders

import "slices"

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
	Variants: byGroup(func(p ArgMaxParams) uint32 { return p.Cols }, DeclPass[ArgMaxParams]{Grid: func(p ArgMaxParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Axes: alongCount(func(p *ArgMaxParams) *Count { return &p.Rows }, func(p ArgMaxParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols)}
	}, func(p *ArgMaxParams, first uint32) { p.Base += first }),
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
	Reference: func(p ArgMaxParams, b []Array) {
		for r := range int(p.Rows.Max) {
			row := b[0].F[r*int(p.Cols):][:p.Cols]
			b[1].I[int(p.Base)+r] = int64(slices.Index(row, slices.Max(row)))
		}
	},
	Cost: func(p ArgMaxParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n, Bytes: 4 * n}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, x Input) Case {
			n := int(rows.Max)
			return Case{Params: ArgMaxParams{rows, uint32(cols), 2}, Inputs: []Input{x, integers(n+2, 0, 9)}}
		}
		ties := Input{F: make([]float32, 3*500)}
		for i := range ties.F {
			ties.F[i] = float32(i % 250 % 7)
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, Input{N: int(rows.Max) * cols, Scale: 1}) }),
			call(N(3), 500, ties).named("ties"), call(N(3), 500, Input{N: 1500, Mean: -1e30, Scale: 1e29}).named("negative"))
	},
})
