package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Attention is grouped-query attention of q [B,Tq,H,D] over k and v [B,Tk,K,D], with scores q·k·scale;
// intervals (int32 [B,Tq,4]) are the keys visible to each query, as described at
// shaders.Attention. It returns y [B,Tq,H,D]. k and v may be a cache in 8 bits.
func (g *Graph) Attention(q, k, v, intervals *Tensor, scale float64) *Tensor {
	ok := len(q.Shape) == 4 && len(k.Shape) == 4 && k.Size() == v.Size() &&
		q.Shape[0] == k.Shape[0] && q.Shape[3] == k.Shape[3] && q.Shape[2]%k.Shape[2] == 0
	check(ok, "attention", "q [B,Tq,H,D], k and v [B,Tk,K,D]", q, k, v)
	batch, queries, heads, d := q.Shape[0], q.Shape[1], q.Shape[2], q.Shape[3]
	check(intervals.Size() == batch*queries*4, "attention", "intervals [B,Tq,4]", q, intervals)
	p := shaders.AttentionParams{
		Batch: uint32(batch), Queries: uint32(queries), Keys: uint32(k.Shape[1]),
		Heads: uint32(heads), KVHeads: uint32(k.Shape[2]), HeadDim: uint32(d), Scale: float32(scale),
	}
	density := g.AttentionDensity
	y, lse := g.newLike(q, "attention", q.Shape...), g.NewFloat32("lse", batch, queries, heads)
	if k.node.format != nil {
		check(!g.Train && d%32 == 0, "attention over keys in 8 bits", "heads of a multiple of 32 columns, not in training", q, k, v)
		g.record(shaders.AttentionQuant, p, q.View(), k.View(), v.View(), intervals.View(), y.View(), lse.View())
		g.Program.SetCostScale(density)
		return y
	}
	g.record(shaders.Attention, p, q.View(), k.View(), v.View(), intervals.View(), y.View(), lse.View())
	g.Program.SetCostScale(density)
	g.onBackward(y, func(dy engine.View) {
		dq, addQ, _ := g.gradient(q)
		dk, addK, _ := g.gradient(k)
		dv, addV, _ := g.gradient(v)
		p.AccumulateQ, p.AccumulateK, p.AccumulateV = shaders.Flag(addQ), shaders.Flag(addK), shaders.Flag(addV)
		g.record(shaders.AttentionBackward, p, q.View(), k.View(), v.View(), intervals.View(), y.View(), lse.View(), dy, dq, dk, dv)
		g.Program.SetCostScale(density)
	})
	return y
}

// ImageAttention is Attention among the patches of each image.
func (g *Graph) ImageAttention(q, k, v, intervals *Tensor, scale float64) *Tensor {
	of := g.AttentionDensity
	defer func() { g.AttentionDensity = of }()
	g.AttentionDensity = g.ImageDensity
	return g.Attention(q, k, v, intervals, scale)
}
