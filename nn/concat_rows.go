package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// ConcatAlign is what the row at which ConcatRows's second part begins is a multiple of, so that a
// device can bind it.
const ConcatAlign = 128

// ConcatRows returns the rows of a [R,C] and, from row at on, those of b [S,C]: [at+S,C]. Rows
// between them, and those that are not in use by RowCount, have any values.
func (g *Graph) ConcatRows(a, b *Tensor, at int) *Tensor {
	cols := a.Cols()
	check(b.Cols() == cols && at%ConcatAlign == 0 && at*cols >= a.Size(), "concat_rows", "[R,C] and [S,C], and R up to a multiple of 128", a, b)
	y := g.New("concat", at+b.Size()/cols, cols)
	t := y.View().Buffer.Type
	parts := []struct {
		x     *Tensor
		start int64
	}{{a, 0}, {b, engine.BufferSize(t, at*cols)}}
	for _, p := range parts {
		g.copy(p.x.View(), y.View().Slice(p.start, engine.BufferSize(t, p.x.Size())), p.x.Size())
	}
	g.onBackward(y, func(dy engine.View) {
		for _, p := range parts {
			dx, add, ok := g.gradient(p.x)
			from := dy.Slice(p.start, engine.BufferSize(t, p.x.Size()))
			switch {
			case !ok:
			case add:
				g.record(shaders.Accumulate, shaders.AccumulateParams{N: shaders.N(p.x.Size())}, from, dx)
			default:
				g.copy(from, dx, p.x.Size())
			}
		}
	})
	return y
}
