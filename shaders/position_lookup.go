package shaders

// PositionLookupParams are the parameters of PositionLookup.
type PositionLookupParams struct {
	Rows    Count  // patches
	Cols    uint32 // D
	MaxGrid uint32 // rows of the position tables
}

// PositionLookup computes y = x + y_pos[row] + x_pos[column] for patches x [Rows,D] of images
// of any shape, whose rows and columns are in grid [Rows,2], and position tables [MaxGrid,D].
var PositionLookup = Declare(Decl[PositionLookupParams]{
	Name: "position_lookup",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "grid", Type: I32, Access: Read},
		{Name: "y_pos", Access: Read},
		{Name: "x_pos", Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"position"},
	Variants: rowwise(func(p PositionLookupParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "y"}, {"y"}},
	Even:     func(p PositionLookupParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p PositionLookupParams, b Buffers) {
		x, grid, yPos, xPos, y, d := b.F32(0), b.I32(1), b.F32(2), b.F32(3), b.F32(4), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(d), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				x, y, v, u := x[r*d:][:d], y[r*d:][:d], yPos[int(grid[2*r])*d:][:d], xPos[int(grid[2*r+1])*d:][:d]
				for i := range y {
					y[i] = x[i] + (v[i] + u[i])
				}
			}
		})
	},
	Reference: func(p PositionLookupParams, b []Array) {
		d := int(p.Cols)
		for i := range int(p.Rows.Max) * d {
			r, c := i/d, i%d
			b[4].F[i] = b[0].F[i] + b[2].F[int(b[1].I[2*r])*d+c] + b[3].F[int(b[1].I[2*r+1])*d+c]
		}
	},
	Cost: func(p PositionLookupParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 2 * n, Bytes: 8 * n}
	},
	Inputs: func(p PositionLookupParams, n []int) map[string]Input {
		return map[string]Input{"grid": integers(n[1], 0, int(p.MaxGrid))}
	},
	Cases: func() []Case {
		call := func(rows Count, cols, most int) Case {
			n := int(rows.Max)
			return Case{
				Params: PositionLookupParams{rows, uint32(cols), uint32(most)},
				Inputs: []Input{{N: n * cols, Scale: 1}, integers(2*n, 0, most), {N: most * cols, Scale: 1}, {N: most * cols, Scale: 1}, {N: n * cols}},
				Atol:   1e-6, Rtol: 1e-6, // two roundings
			}.named("%dx%d of %d", n, cols, most)
		}
		return append(overCounts(32, func(rows Count) Case { return call(rows, 17, 6) }),
			call(N(1), 1, 1), call(N(30), 33, 7), call(N(20), 64, 7), call(N(512), 96, 16), call(N(65537), 2, 5))
	},
})

// PositionLookupBackwardParams are the parameters of PositionLookupBackward.
type PositionLookupBackwardParams struct {
	Cols       uint32 // D
	MaxGrid    uint32 // rows of the position tables
	Accumulate uint32
}

// PositionLookupBackward adds up dy [patches,D] over the patches of a row into dy_pos, and over those
// of a column into dx_pos. The host sorts the patches by row and by column: row g has patches
// order[starts[g]:starts[g+1]], column g those between starts[MaxGrid+g] and the next. Each is summed
// in that order, so that the bits do not change from run to run; rows of the tables that no patch
// uses get 0.
var PositionLookupBackward = Declare(Decl[PositionLookupBackwardParams]{
	Name: "position_lookup_backward",
	Bindings: []Binding{
		{Name: "dy", Access: Read},
		{Name: "order", Type: I32, Access: Read},
		{Name: "starts", Type: I32, Access: Read},
		{Name: "dy_pos", Access: ReadWrite},
		{Name: "dx_pos", Access: ReadWrite},
	},
	Include:  []string{"sum", "position"},
	Variants: rowwise(func(p PositionLookupBackwardParams) (rows, cols int) { return 2 * int(p.MaxGrid), int(p.Cols) }),
	Halves:   [][]string{{"dy"}},
	Even:     func(p PositionLookupBackwardParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p PositionLookupBackwardParams, b Buffers) {
		dy, order, starts, d, most := b.F32(0), b.I32(1), b.I32(2), int(p.Cols), int(p.MaxGrid)
		h.Parallel(2*most, 1, func(lo, hi int) {
			for g := lo; g < hi; g++ {
				table := b.F32(3 + g/most)
				row := table[g%most*d:][:d]
				if p.Accumulate == 0 {
					clear(row)
				}
				for _, r := range order[starts[g]:starts[g+1]] {
					addTo(row, dy[int(r)*d:])
				}
			}
		})
	},
	Reference: func(p PositionLookupBackwardParams, b []Array) {
		d, most := int(p.Cols), int(p.MaxGrid)
		for g := range 2 * most {
			row := b[3+g/most].F[g%most*d:][:d]
			if p.Accumulate == 0 {
				clear(row)
			}
			for _, r := range b[1].I[b[2].I[g]:b[2].I[g+1]] {
				for c := range row {
					row[c] += b[0].F[int(r)*d+c]
				}
			}
		}
	},
	Cost: func(p PositionLookupBackwardParams) Cost {
		n := 2 * float64(p.MaxGrid) * float64(p.Cols) // of one patch each, at least
		return Cost{Flops: n, Bytes: 12 * n}
	},
	Inputs: func(p PositionLookupBackwardParams, n []int) map[string]Input {
		order, starts := sortedPatches(n[1]/2, int(p.MaxGrid))
		return map[string]Input{"order": order, "starts": starts}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			call := func(patches, cols, most int) Case {
				order, starts := sortedPatches(patches, most)
				table := func() Input { return output(most*cols, accumulate) }
				return Case{
					Params: PositionLookupBackwardParams{uint32(cols), uint32(most), accumulate},
					Inputs: []Input{{N: patches * cols, Scale: 1}, order, starts, table(), table()},
					Atol:   2e-6 + 1e-7*float64(patches), Rtol: 1e-6, // as many roundings of sums of size √patches, at random
				}.named("%dx%d of %d", patches, cols, most)
			}
			return []Case{call(0, 17, 6), call(1, 1, 1), call(32, 17, 6), call(30, 33, 7), call(20, 64, 7), call(512, 96, 16), call(3000, 2, 3), call(16, 2, 32769)}
		})
	},
})

// sortedPatches are patches sorted by their rows, and by their columns, of a grid of the given side.
// Some rows and columns have none.
func sortedPatches(patches, side int) (order, starts Input) {
	starts.I = []int32{0}
	for axis := range 2 {
		at := integers(patches, 0, side).I
		for g := range side {
			for r := range at {
				if (int(at[r])+axis)%side == g {
					order.I = append(order.I, int32(r))
				}
			}
			starts.I = append(starts.I, int32(len(order.I)))
		}
	}
	return order, starts
}
