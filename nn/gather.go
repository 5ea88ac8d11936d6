package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// GatherRows returns y[r] = x[index[r]] for the first n entries of index (int32). It has no
// gradient.
func (g *Graph) GatherRows(x, index *Tensor, n int) *Tensor {
	check(index.Size() >= n, "gather rows", "an index for each row", x, index)
	y := g.newLike(x, "rows", n, x.Cols())
	g.record(shaders.GatherRows, shaders.GatherRowsParams{Rows: shaders.N(n), Cols: uint32(x.Cols())}, index.View(), x.View(), y.View())
	g.onBackward(y, func(engine.View) { check(false, "gather rows", "no gradient", x) })
	return y
}

// ArgMax returns the column (int32) of the largest value in each row of x.
func (g *Graph) ArgMax(x *Tensor) *Tensor { return g.ArgMaxOf(x, x.Cols()) }

// ArgMaxOf is ArgMax of the first columns.
func (g *Graph) ArgMaxOf(x *Tensor, columns int) *Tensor {
	y := g.NewFloat32("argmax", x.Size()/x.Cols())
	g.record(shaders.ArgMax, shaders.ArgMaxParams{Rows: x.rows(), Cols: uint32(columns), LD: uint32(x.Cols())}, x.View(), y.View())
	return y
}
