package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// AppendMeans appends the mean of each channel of patches [N,C·P·P] to the rows of x, of the same
// shape: [N,C·P·P+C], in 32 bits. x has 32 bits too.
func (g *Graph) AppendMeans(x, patches *Tensor, channels int) *Tensor {
	cols := x.Cols()
	check(x.Size() == patches.Size() && patches.Cols() == cols && cols%channels == 0, "append means", "x and patches [N,C·P·P]", x, patches)
	rows := x.rows()
	y := g.NewFloat32("patches and means", x.Size()/cols, cols+channels)
	if rows.Slot != 0 {
		y.rowCount(rows)
	}
	g.record(shaders.AppendMeans, shaders.AppendMeansParams{Rows: rows, Cols: uint32(cols), Channels: uint32(channels)}, x.View(), patches.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dx, addX, withX := g.gradient(x)
		dp, addP, withP := g.gradient(patches)
		if !withX && !withP {
			return
		}
		if !withX { // x is a constant: its gradient is computed and dropped
			dx = g.temporary(shaders.F32, "unused gradient", x.Size())
		}
		g.record(shaders.AppendMeansBackward, shaders.AppendMeansBackwardParams{
			Rows: rows, Cols: uint32(cols), Channels: uint32(channels),
			AccumulateX: shaders.Flag(addX), AccumulatePatches: shaders.Flag(addP), WithPatches: shaders.Flag(withP),
		}, dy, dx, dp)
	})
	return y
}
