package shaders

// PositionAddParams are the parameters of PositionAdd and PositionAddBackward.
type PositionAddParams struct {
	Rows       Count  // patches: images × GridH·GridW
	Cols       uint32 // D
	GridH      uint32 // patches down an image
	GridW      uint32 // patches across an image
	MaxGrid    uint32 // rows of the position tables
	Accumulate uint32
}

// PositionAdd computes y = x + y_pos[row] + x_pos[column] for patches
// x [N·GridH·GridW, D] and position tables [MaxGrid,D].
var PositionAdd = Declare(Decl[PositionAddParams]{
	Name: "position_add",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y_pos", Access: Read},
		{Name: "x_pos", Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"position"},
	Variants: rowwise(func(p PositionAddParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "y"}, {"y"}},
	Even:     func(p PositionAddParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p PositionAddParams, b Buffers) {
		x, yPos, xPos, y := b.F32(0), b.F32(1), b.F32(2), b.F32(3)
		d, gh, gw := int(p.Cols), int(p.GridH), int(p.GridW)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(d), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row, col := r/gw%gh, r%gw
				x, y, v, u := x[r*d:][:d], y[r*d:][:d], yPos[row*d:][:d], xPos[col*d:][:d]
				for i := range y {
					y[i] = x[i] + (v[i] + u[i])
				}
			}
		})
	},
	Reference: func(p PositionAddParams, b []Array) {
		d, gh, gw := int(p.Cols), int(p.GridH), int(p.GridW)
		for i := range int(p.Rows.Max) * d {
			r, c := i/d, i%d
			b[3].F[i] = b[0].F[i] + b[1].F[r/gw%gh*d+c] + b[2].F[r%gw*d+c]
		}
	},
	Cost: func(p PositionAddParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 2 * n, Bytes: 8 * n}
	},
	Cases: func() []Case {
		return positionCases(0, func(rows, table int) []Input {
			return []Input{{N: rows, Scale: 1}, {N: table, Scale: 1}, {N: table, Scale: 1}, {N: rows}}
		})
	},
})

// PositionAddBackward adds up dy over the patches of a row into dy_pos and over
// those of a column into dx_pos; rows of the tables that no patch uses get 0.
var PositionAddBackward = Declare(Decl[PositionAddParams]{
	Name: "position_add_backward",
	Bindings: []Binding{
		{Name: "dy", Access: Read},
		{Name: "dy_pos", Access: ReadWrite},
		{Name: "dx_pos", Access: ReadWrite},
	},
	Include:  []string{"sum", "position"},
	Variants: rowwise(func(p PositionAddParams) (rows, cols int) { return 2 * int(p.MaxGrid), int(p.Cols) }),
	Halves:   [][]string{{"dy"}},
	Even:     func(p PositionAddParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p PositionAddParams, b Buffers) {
		dy, dyPos, dxPos := b.F32(0), b.F32(1), b.F32(2)
		d, gh, gw, rows := int(p.Cols), int(p.GridH), int(p.GridW), p.Rows.At(h.Step())
		h.Parallel(2*int(p.MaxGrid), 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				if g := i / 2; i%2 == 0 {
					positionSum(dyPos[g*d:][:d], dy, rows, p.Accumulate != 0, func(r int) bool { return r/gw%gh == g })
				} else {
					positionSum(dxPos[g*d:][:d], dy, rows, p.Accumulate != 0, func(r int) bool { return r%gw == g })
				}
			}
		})
	},
	Reference: func(p PositionAddParams, b []Array) {
		d, gh, gw := int(p.Cols), int(p.GridH), int(p.GridW)
		if p.Accumulate == 0 {
			clear(b[1].F)
			clear(b[2].F)
		}
		for i := range int(p.Rows.Max) * d {
			r, c := i/d, i%d
			b[1].F[r/gw%gh*d+c] += b[0].F[i]
			b[2].F[r%gw*d+c] += b[0].F[i]
		}
	},
	Cost: func(p PositionAddParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 2 * n, Bytes: 8 * n}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			return positionCases(accumulate, func(rows, table int) []Input {
				return []Input{{N: rows, Scale: 1}, output(table, accumulate), output(table, accumulate)}
			})
		})
	},
})

func positionSum(sum, dy []float32, rows int, accumulate bool, mine func(r int) bool) {
	if !accumulate {
		clear(sum)
	}
	for r := range rows {
		if mine(r) {
			addTo(sum, dy[r*len(sum):])
		}
	}
}

func positionCases(accumulate uint32, inputs func(rows, table int) []Input) []Case {
	call := func(rows Count, cols, gh, gw, most int) Case {
		return Case{
			Params: PositionAddParams{rows, uint32(cols), uint32(gh), uint32(gw), uint32(most), accumulate},
			Inputs: inputs(int(rows.Max)*cols, most*cols),
			Atol:   2e-6 + 1e-7*float64(rows.Max), Rtol: 1e-6, // as many roundings of sums of size √rows, at random
		}.named("%dx%d on %dx%d of %d", rows.Max, cols, gh, gw, most)
	}
	return append(overCounts(32, func(rows Count) Case { return call(rows, 17, 4, 4, 6) }),
		call(N(1), 1, 1, 1, 1), call(N(30), 33, 2, 5, 7), call(N(20), 64, 2, 5, 7), call(N(512), 96, 16, 16, 16), call(N(65537), 2, 4, 4, 5), call(N(16), 2, 4, 4, 32769))
}
