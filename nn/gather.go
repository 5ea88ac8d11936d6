package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// GatherRows returns y[r] = x[index[r]] for the first n entries of index (int32), which
// must all be different.
func (g *Graph) GatherRows(x, index *Tensor, n int) *Tensor {
	check(index.Size() >= n, "gather rows", "an index for each row", x, index)
	p := shaders.GatherRowsParams{Rows: shaders.N(n), Cols: uint32(x.Cols())}
	y := g.newLike(x, "rows", n, x.Cols())
	g.record(shaders.GatherRows, p, index.View(), x.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		dx, add, ok := g.gradient(x)
		if !ok {
			return
		}
		if !add {
			g.fill(dx, x.Size(), 0)
		}
		p.Accumulate = 1
		g.record(shaders.ScatterRows, p, index.View(), dy, dx)
	})
	return y
}

// ArgMax returns the column (int32) of the largest value in each row of x.
func (g *Graph) ArgMax(x *Tensor) *Tensor {
	y := g.NewFloat32("argmax", x.Size()/x.Cols())
	g.record(shaders.ArgMax, shaders.ArgMaxParams{Rows: x.rows(), Cols: uint32(x.Cols()), LD: uint32(x.Cols())}, x.View(), y.View())
	return y
}
