package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// LayerNorm normalises the last axis of x [...,C] and scales and shifts it by w
// and b [C].
func (g *Graph) LayerNorm(x, w, b *Tensor, eps float32) *Tensor {
	return g.layerNorm(x, w, b, eps, g.New("layernorm", x.Shape...))
}

// LayerNormFloat32 is LayerNorm with a result in 32 bits.
func (g *Graph) LayerNormFloat32(x, w, b *Tensor, eps float32) *Tensor {
	return g.layerNorm(x, w, b, eps, g.NewFloat32("layernorm", x.Shape...))
}

func (g *Graph) layerNorm(x, w, b *Tensor, eps float32, y *Tensor) *Tensor {
	cols := x.Cols()
	check(w.Size() == cols && b.Size() == cols, "layernorm", "w and b [C]", x, w, b)
	rows := x.rows()
	y.SameRows(x)
	mean, rstd := g.NewFloat32("mean", int(rows.Max)), g.NewFloat32("rstd", int(rows.Max))
	g.record(shaders.LayerNorm, shaders.LayerNormParams{Rows: rows, Cols: uint32(cols), Eps: eps},
		x.View(), w.View(), b.View(), y.View(), mean.View(), rstd.View())
	g.onBackward(y, func(dy engine.View) {
		dx, addX, withX := g.gradient(x)
		dw, addW, withW := g.gradient(w)
		db, _, _ := g.gradient(b)
		if !withX && !withW {
			return
		}
		g.record(shaders.LayerNormBackward, shaders.LayerNormBackwardParams{
			Rows: rows, Cols: uint32(cols), AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW),
			WithX: shaders.Flag(withX), WithW: shaders.Flag(withW),
		}, x.View(), w.View(), mean.View(), rstd.View(), dy, dx, dw, db)
	})
	return y
}
