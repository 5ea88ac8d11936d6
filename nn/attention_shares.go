package nn

import "patchwork/shaders"

// AttentionShares computes the share of each query's attention weights, which sum to 1,
// that every group of keys gets, as the mean over the heads. Attention does not keep its
// weights. q is [B,Tq,H,D], k [B,Tk,K,D], intervals [B,Tq,4] and scale, as for Attention. groups
// are tensors of GroupValues, with D groups in each; for each the result has [B·Tq,D], in
// 32 bits.
//
// It runs Attention's kernel with values that are 1 in the column of the key's group and 0
// elsewhere, so that a query's result is the sum of its weights by group.
func (g *Graph) AttentionShares(q, k, intervals *Tensor, scale float64, groups []*Tensor) []*Tensor {
	batch, queries, heads, d := q.Shape[0], q.Shape[1], q.Shape[2], q.Shape[3]
	q, k = g.toFloat32(q), g.toFloat32(k)
	mean := g.NewFloat32("mean of heads", batch*queries, 1, heads)
	g.fill(mean.View(), mean.Size(), 1/float32(heads))
	shares := make([]*Tensor, len(groups))
	for i, values := range groups {
		y := g.Attention(q, k, values, intervals, scale) // [B,Tq,H,D]
		shares[i] = g.NewFloat32("attention shares", batch*queries, d)
		p := matmulShape{batch: batch * queries, m: shaders.N(1), n: d, k: shaders.N(heads)}
		g.matmul(p, operand{view: mean.View()}, operand{view: y.View()}, shares[i].View())
	}
	return shares
}

// toFloat32 is x itself or a copy in 32 bits.
func (g *Graph) toFloat32(x *Tensor) *Tensor {
	if !x.View().Buffer.Type.Half() {
		return x
	}
	y := g.NewFloat32(x.Name(), x.Shape...)
	g.record(shaders.Copy, shaders.CopyParams{N: uint32(x.Size())}, x.View(), y.View())
	return y
}

// GroupValues are AttentionShares' values for keys [tokens,kvHeads,headDim]: group[t], from
// 0 to groups-1, is the group of token t. Each buffer of values holds headDim groups.
func GroupValues(group []int, groups, kvHeads, headDim int) [][]float32 {
	values := make([][]float32, (groups+headDim-1)/headDim)
	for i := range values {
		values[i] = make([]float32, len(group)*kvHeads*headDim)
	}
	for t, to := range group {
		for h := range kvHeads {
			values[to/headDim][(t*kvHeads+h)*headDim+to%headDim] = 1
		}
	}
	return values
}
