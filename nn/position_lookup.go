package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// PatchGrid is where the patches of images of any shape are, all int32. Order and Starts are the
// patches sorted by row and by column, for the gradients (see shaders.PositionLookupBackward).
type PatchGrid struct {
	At     *Tensor // [L,2]: row and column
	Order  *Tensor // [2L]
	Starts *Tensor // [2G+1]
}

// PositionLookup adds to every patch of x [L,D] the entry of its row in yPos and of its column in
// xPos, both [G,D]. Rows and columns must be below G.
func (g *Graph) PositionLookup(x *Tensor, grid PatchGrid, yPos, xPos *Tensor) *Tensor {
	d, most := x.Cols(), yPos.Shape[0]
	check(yPos.Cols() == d && xPos.Cols() == d && yPos.Size() == xPos.Size() && grid.At.Size()*d >= 2*x.Size() && grid.Starts.Size() == 2*most+1,
		"position lookup", "tables [G,D] and the patches' places", x, yPos, xPos, grid.At, grid.Starts)
	y := g.New("positions", x.Shape...).SameRows(x)
	g.record(shaders.PositionLookup, shaders.PositionLookupParams{Rows: x.rows(), Cols: uint32(d), MaxGrid: uint32(most)},
		x.View(), grid.At.View(), yPos.View(), xPos.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dyPos, add, okY := g.gradient(yPos)
		dxPos, _, okX := g.gradient(xPos)
		if okY && okX {
			p := shaders.PositionLookupBackwardParams{Cols: uint32(d), MaxGrid: uint32(most), Accumulate: shaders.Flag(add)}
			g.record(shaders.PositionLookupBackward, p, dy, grid.Order.View(), grid.Starts.View(), dyPos, dxPos)
		}
		g.passGradient(x, dy)
	})
	return y
}
