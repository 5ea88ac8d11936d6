package shaders

import "math"

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
	Include: []string{"sum", "position"},
	Variants: []DeclVariant[ColumnSumParams]{{Passes: []DeclPass[ColumnSumParams]{
		{Entry: "chunks", Rows: func(p ColumnSumParams) (rows, cols int) { return chunksOf(p.Rows.Max, sumChunk), int(p.Cols) }},
		{Elements: func(p ColumnSumParams) int { return int(p.Cols) }},
	}}},
	Halves:  [][]string{{"x"}},
	Even:    func(p ColumnSumParams) bool { return p.Cols%2 == 0 },
	Scratch: func(p ColumnSumParams) int64 { return 4 * int64(chunksOf(p.Rows.Max, sumChunk)) * int64(p.Cols) },
	Axes: alongCount(func(p *ColumnSumParams) *Count { return &p.Rows }, func(p ColumnSumParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols)}
	}, func(p *ColumnSumParams, first uint32) { accumulateAfterFirst(&p.Accumulate, first) }),
	CPU: func(h Host, p ColumnSumParams, b Buffers) {
		x, y, cols := b.F32(0), b.F32(1), int(p.Cols)
		sumRows(h, p.Rows.At(h.Step()), p.Accumulate != 0, func(lo, hi int, acc []float32) {
			for r := lo; r < hi; r++ {
				addTo(acc, x[r*cols:])
			}
		}, y[:cols])
	},
	Reference: func(p ColumnSumParams, b []Array) {
		for c := range int(p.Cols) {
			var sum float64
			for r := range int(p.Rows.Max) {
				sum += b[0].F[r*int(p.Cols)+c]
			}
			set(b[1].F, c, sum, p.Accumulate)
		}
	},
	Cost: func(p ColumnSumParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n, Bytes: 4 * n}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			call := func(rows Count, cols int) Case {
				return Case{
					Params: ColumnSumParams{rows, uint32(cols), accumulate},
					Inputs: []Input{{N: int(rows.Max) * cols, Scale: 1}, output(cols, accumulate)},
					// 64 roundings of sums of size 8 in each chunk, as a random walk.
					Atol: 5e-7 * math.Sqrt(float64(rows.Max)), Rtol: 1e-6,
				}
			}
			return append(overRows(call), call(N(1), beyondGroups).named("1x%d", beyondGroups))
		})
	},
})
