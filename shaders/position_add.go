package shaders

// PositionAddParams are the parameters of PositionAdd and PositionAddBackward.
type PositionAddParams struct {
	Rows       Count  // patches: pictures × GridH·GridW
	Cols       uint32 // D
	GridH      uint32 // patches down a picture
	GridW      uint32 // patches across a picture
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
