package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Heads says what a stacked projection holds, B rows of T tokens with H heads of queries
// and K of keys and values, of D columns each, and how queries and keys are turned.
type Heads struct {
	B, T, H, K, D    int
	Table, Positions *Tensor // as RoPE's
	// QNorm and KNorm [D] scale every head of queries and keys, divided by its root mean
	// square, before it is turned: Qwen3's QK-norm. nil for none.
	QNorm, KNorm *Tensor
	Eps          float32
}

// RoPESplit takes x [B·T,(H+2K)·D] apart, where every token has its queries, keys and
// values side by side: q [B,T,H,D], turned, k [B,T,K,D], turned, and v [B,T,K,D].
// With norms x may be without values, [B·T,(H+K)·D], and v is nil; in training it must
// be: their gradients need x, which would hold the values a second time.
func (g *Graph) RoPESplit(x *Tensor, h Heads) (q, k, v *Tensor) {
	q, k = g.newLike(x, "q", h.B, h.T, h.H, h.D), g.newLike(x, "k", h.B, h.T, h.K, h.D)
	if h.values(x) {
		v = g.newLike(x, "v", h.B, h.T, h.K, h.D)
	}
	if h.QNorm != nil {
		g.splitNorm(x, h, q, k, v, 0)
	} else {
		g.split(x, h, q, k, v, 0)
	}
	return q, k, v
}

// RoPESplitInto is RoPESplit, with values, for decoding: keys and values go into
// caches [capacity,K,D], from the row that the step block's entry slot says on.
func (g *Graph) RoPESplitInto(x *Tensor, h Heads, keys, values *Tensor, slot int) (q *Tensor) {
	ok := !g.Train && h.values(x) && keys.Size() == values.Size() && keys.Size()%(h.K*h.D) == 0
	check(ok, "rope", "x [B·T,(H+2K)·D], and caches [capacity,K,D], in no training", x, keys, values)
	q = g.newLike(x, "q", h.B, h.T, h.H, h.D)
	if h.QNorm != nil {
		g.splitNorm(x, h, q, keys, values, slot)
	} else {
		g.split(x, h, q, keys, values, slot)
	}
	return q
}

// values says whether x holds values.
func (h Heads) values(x *Tensor) bool { return x.Cols() == (h.H+2*h.K)*h.D }

func (h Heads) check(x *Tensor) {
	ok := (h.values(x) || h.QNorm != nil && x.Cols() == (h.H+h.K)*h.D) && x.Size() == h.B*h.T*x.Cols()
	check(ok && h.D%2 == 0 && h.Table.Cols() == h.D, "rope", "x [B·T,(H+2K)·D] with D even and table [positions,D]", x, h.Table)
	check(h.Positions.Size() == h.B*h.T, "rope", "a position a token", x, h.Positions)
}

func (g *Graph) split(x *Tensor, h Heads, q, k, v *Tensor, slot int) {
	h.check(x)
	p := shaders.RoPESplitParams{Tokens: x.rows(), Heads: uint32(h.H), KVHeads: uint32(h.K), HeadDim: uint32(h.D), Slot: uint32(slot)}
	g.record(shaders.RoPESplit, p, x.View(), h.Table.View(), h.Positions.View(), q.View(), k.View(), v.View())
	g.onBackwardAll([]*Tensor{q, k, v}, func(dy []engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			p := shaders.RoPESplitParams{Tokens: p.Tokens, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim, Accumulate: shaders.Flag(add)}
			g.record(shaders.RoPESplitBackward, p, dy[0], dy[1], dy[2], h.Table.View(), h.Positions.View(), dx)
		}
	})
}

func (g *Graph) splitNorm(x *Tensor, h Heads, q, k, v *Tensor, slot int) {
	h.check(x)
	check(h.QNorm.Size() == h.D && h.KNorm.Size() == h.D, "rope", "norms [D]", h.QNorm, h.KNorm)
	check(!g.Train || v == nil, "rope", "x [B·T,(H+K)·D] in training", x)
	p := shaders.RoPESplitNormParams{
		Tokens: x.rows(), Heads: uint32(h.H), KVHeads: uint32(h.K), HeadDim: uint32(h.D),
		Values: shaders.Flag(v != nil), Slot: uint32(slot), Eps: h.Eps,
	}
	rstd := g.NewFloat32("rstd", h.B*h.T, h.H+h.K)
	g.record(shaders.RoPESplitNorm, p, x.View(), h.QNorm.View(), h.KNorm.View(), h.Table.View(), h.Positions.View(),
		q.View(), k.View(), viewOf(v), rstd.View())
	g.onBackwardAll([]*Tensor{q, k}, func(dy []engine.View) {
		dx, addX, _ := g.gradient(x)
		dwq, addW, withW := g.gradient(h.QNorm)
		dwk, addK, withK := g.gradient(h.KNorm)
		check(addW == addK && withW == withK, "rope", "norms that take gradients alike", h.QNorm, h.KNorm)
		g.record(shaders.RoPESplitNormBackward, shaders.RoPESplitNormBackwardParams{
			Tokens: p.Tokens, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim,
			AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW), WithW: shaders.Flag(withW),
		}, x.View(), h.QNorm.View(), h.KNorm.View(), rstd.View(), h.Table.View(), h.Positions.View(), dy[0], dy[1], dx, dwq, dwk)
	})
}
