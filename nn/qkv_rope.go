package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// QKVLayout describes a fused projection: B rows of T tokens with H heads of queries and K
// of keys and values, D columns each, and how queries and keys are rotated.
type QKVLayout struct {
	B, T, H, K, D int
	RoPE          RoPE
	// QNorm and KNorm [D] scale every head of queries and keys, divided by its root mean
	// square, before it is rotated: Qwen3's QK-norm. nil for none.
	QNorm, KNorm *Tensor
	VNorm        bool // values, if x has any, are divided by their root mean square too
	Eps          float32
}

// SplitQKVRoPE splits x [B·T,(H+2K)·D], where every token has its queries, keys and
// values side by side: q [B,T,H,D], rotated, k [B,T,K,D], rotated, and v [B,T,K,D].
// With norms x may be without values, [B·T,(H+K)·D], and v is nil; in training it must
// be: their gradients need x, which would hold the values a second time.
func (g *Graph) SplitQKVRoPE(x *Tensor, l QKVLayout) (q, k, v *Tensor) {
	q, k = g.newLike(x, "q", l.B, l.T, l.H, l.D), g.newLike(x, "k", l.B, l.T, l.K, l.D)
	if l.hasValues(x) {
		v = g.newLike(x, "v", l.B, l.T, l.K, l.D)
	}
	g.splitQKV(x, l, q, k, v, 0, 0)
	return q, k, v
}

// SplitQKVRoPEInto is SplitQKVRoPE, with values, for decoding: keys and values are written
// after those in the cache.
func (g *Graph) SplitQKVRoPEInto(x *Tensor, l QKVLayout, cache KVCache) (q *Tensor) {
	keys, values := cache.Keys, cache.Values
	ok := !g.Train && l.hasValues(x) && keys.Size() == values.Size() && keys.Size()%(l.K*l.D) == 0
	check(ok, "rope", "x [B·T,(H+2K)·D], and caches [capacity,K,D], not in training", x, keys, values)
	q = g.newLike(x, "q", l.B, l.T, l.H, l.D)
	g.splitQKV(x, l, q, keys, values, cache.PastSlot, cache.ring())
	return q
}

// hasValues reports whether x holds values.
func (l QKVLayout) hasValues(x *Tensor) bool { return x.Cols() == (l.H+2*l.K)*l.D }

func (l QKVLayout) check(x *Tensor) {
	ok := (l.hasValues(x) || l.QNorm != nil && x.Cols() == (l.H+l.K)*l.D) && x.Size() == l.B*l.T*x.Cols()
	check(ok && l.D%2 == 0 && l.RoPE.Table.Cols() == l.D, "rope", "x [B·T,(H+2K)·D] with D even and table [positions,D]", x, l.RoPE.Table)
	check(l.RoPE.Positions.Size() == l.B*l.T, "rope", "one position per token", x, l.RoPE.Positions)
}

// splitQKV writes keys and values from the row on that the step block's entry slot gives, in a ring of
// rows unless that is 0.
func (g *Graph) splitQKV(x *Tensor, l QKVLayout, q, k, v *Tensor, slot int, ring uint32) {
	l.check(x)
	if l.QNorm != nil {
		g.splitQKVNorm(x, l, q, k, v, slot, ring)
		return
	}
	table, positions := l.RoPE.Table.View(), l.RoPE.Positions.View()
	p := shaders.RoPESplitParams{Tokens: x.rows(), Heads: uint32(l.H), KVHeads: uint32(l.K), HeadDim: uint32(l.D), Slot: uint32(slot), Ring: ring}
	g.record(shaders.RoPESplit, p, x.View(), table, positions, q.View(), k.View(), v.View())
	g.onBackwardAll([]*Tensor{q, k, v}, func(dy []engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			p := shaders.RoPESplitParams{Tokens: p.Tokens, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim, Accumulate: shaders.Flag(add)}
			g.record(shaders.RoPESplitBackward, p, dy[0], dy[1], dy[2], table, positions, dx)
		}
	})
}

func (g *Graph) splitQKVNorm(x *Tensor, l QKVLayout, q, k, v *Tensor, slot int, ring uint32) {
	check(l.QNorm.Size() == l.D && l.KNorm.Size() == l.D, "rope", "norms [D]", l.QNorm, l.KNorm)
	check(!g.Train || v == nil, "rope", "x [B·T,(H+K)·D] in training", x)
	table, positions := l.RoPE.Table.View(), l.RoPE.Positions.View()
	p := shaders.RoPESplitNormParams{
		Tokens: x.rows(), Heads: uint32(l.H), KVHeads: uint32(l.K), HeadDim: uint32(l.D),
		Values: shaders.Flag(v != nil), Slot: uint32(slot), Ring: ring, Eps: l.Eps,
	}
	if v != nil && l.VNorm {
		p.Values = 2
	}
	rstd := g.NewFloat32("rstd", l.B*l.T, l.H+l.K)
	g.record(shaders.RoPESplitNorm, p, x.View(), l.QNorm.View(), l.KNorm.View(), table, positions, q.View(), k.View(), viewOf(v), rstd.View())
	g.onBackwardAll([]*Tensor{q, k}, func(dy []engine.View) {
		dx, addX, _ := g.gradient(x)
		dwq, addW, withW := g.gradient(l.QNorm)
		dwk, addK, withK := g.gradient(l.KNorm)
		check(addW == addK && withW == withK, "rope", "norms that both take gradients or neither", l.QNorm, l.KNorm)
		g.record(shaders.RoPESplitNormBackward, shaders.RoPESplitNormBackwardParams{
			Tokens: p.Tokens, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim,
			AccumulateX: shaders.Flag(addX), AccumulateW: shaders.Flag(addW), WithW: shaders.Flag(withW),
		}, x.View(), l.QNorm.View(), l.KNorm.View(), rstd.View(), table, positions, dy[0], dy[1], dx, dwq, dwk)
	})
}
