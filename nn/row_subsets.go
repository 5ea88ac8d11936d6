package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// RowSubset is a subset of a tensor's rows: Index (int32 [n]) has their numbers, each once, as many as
// the step block's entry Slot gives; 0 = n.
type RowSubset struct {
	Index *Tensor
	Slot  int
}

func (s RowSubset) params(cols int, accumulate bool) shaders.GatherRowsParams {
	return shaders.GatherRowsParams{Rows: s.count(), Cols: uint32(cols), Accumulate: shaders.Flag(accumulate)}
}

func (s RowSubset) count() shaders.Count {
	return shaders.Count{Max: uint32(s.Index.Size()), Slot: uint32(s.Slot)}
}

// TakeRows returns the rows of x [R,C] in each subset, [n,C]. Together the subsets have every row
// that is in use, each once.
func (g *Graph) TakeRows(x *Tensor, subsets []RowSubset) []*Tensor {
	cols, ys := x.Cols(), make([]*Tensor, len(subsets))
	for i, s := range subsets {
		ys[i] = g.newLike(x, x.Name()+" rows", s.Index.Size(), cols).rowCount(s.count())
		g.record(shaders.GatherRows, s.params(cols, false), s.Index.View(), x.View(), ys[i].View())
	}
	g.onBackwardAll(ys, func(dys []engine.View) {
		dx, add, ok := g.gradient(x)
		if !ok {
			return
		}
		for i, s := range subsets {
			g.record(shaders.ScatterRows, s.params(cols, add), s.Index.View(), dys[i], dx)
		}
	})
	return ys
}

// PutRows is the inverse of TakeRows: it returns a tensor with the row count of like, whose rows in
// each subset are those of its x [n,C].
func (g *Graph) PutRows(like *Tensor, subsets []RowSubset, xs []*Tensor) *Tensor {
	cols := xs[0].Cols()
	y := g.newLike(xs[0], xs[0].Name(), like.Size()/like.Cols(), cols).SameRows(like)
	for i, s := range subsets {
		check(xs[i].Cols() == cols && xs[i].Size() == s.Index.Size()*cols, "put rows", "[n,C] for each subset", xs[i], s.Index)
		g.record(shaders.ScatterRows, s.params(cols, false), s.Index.View(), xs[i].View(), y.View())
	}
	g.onBackward(y, func(dy engine.View) {
		for i, s := range subsets {
			if dx, add, ok := g.gradient(xs[i]); ok {
				g.record(shaders.GatherRows, s.params(cols, add), s.Index.View(), dy, dx)
			}
		}
	})
	return y
}
