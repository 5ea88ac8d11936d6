package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// PositionAdd adds to every patch of x [..., gridH·gridW, D] the entry of its row in yPos
// and of its column in xPos, both [G,D], G at least the grid's sides.
func (g *Graph) PositionAdd(x, yPos, xPos *Tensor, gridH, gridW int) *Tensor {
	d := x.Cols()
	check(yPos.Cols() == d && xPos.Cols() == d && yPos.Size() == xPos.Size() && yPos.Shape[0] >= max(gridH, gridW),
		"position add", "tables [G,D], G at least the grid", x, yPos, xPos)
	p := shaders.PositionAddParams{Rows: x.rows(), Cols: uint32(d), GridH: uint32(gridH), GridW: uint32(gridW), MaxGrid: uint32(yPos.Shape[0])}
	y := g.New("positions", x.Shape...).SameRows(x)
	g.record(shaders.PositionAdd, p, x.View(), yPos.View(), xPos.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dyPos, add, okY := g.gradient(yPos)
		dxPos, _, okX := g.gradient(xPos)
		if okY && okX {
			p.Accumulate = shaders.Flag(add)
			g.record(shaders.PositionAddBackward, p, dy, dyPos, dxPos)
		}
		g.passGradient(x, dy)
	})
	return y
}
