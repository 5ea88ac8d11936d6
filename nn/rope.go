package nn

import (
	"math"

	"patchwork/engine"
	"patchwork/shaders"
)

// RoPE turns every head of x [...,H,D] by the angle of its token's position
// (int32, one a token), with a table made by RoPETable.
func (g *Graph) RoPE(x, table, positions *Tensor) *Tensor {
	n := len(x.Shape)
	check(n >= 3 && x.Cols()%2 == 0 && table.Cols() == x.Cols(), "rope", "x [...,H,D] with D even and table [positions,D]", x, table)
	heads, d := x.Shape[n-2], x.Shape[n-1]
	check(positions.Size() == x.Size()/heads/d, "rope", "a position a token", x, positions)
	p := shaders.RoPEParams{Tokens: shaders.N(positions.Size()), Heads: uint32(heads), HeadDim: uint32(d)}
	y := g.newLike(x, "rope", x.Shape...)
	g.record(shaders.RoPE, p, x.View(), table.View(), positions.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			p.Inverse, p.Accumulate = 1, shaders.Flag(add)
			g.record(shaders.RoPE, p, dy, table.View(), positions.View(), dx)
		}
	})
	return y
}

// RoPESplit takes x [...,(H+2K)·D] apart, in which every token has H queries, K keys
// and K values side by side, and turns queries and keys as RoPE does: q [B,T,H,D],
// k and v [B,T,K,D].
func (g *Graph) RoPESplit(x, table, positions *Tensor, s AttentionShape) (q, k, v *Tensor) {
	p := g.ropeSplitParams(x, table, positions, s)
	q, k, v = g.newLike(x, "q", s.B, s.T, s.H, s.D), g.newLike(x, "k", s.B, s.T, s.K, s.D), g.newLike(x, "v", s.B, s.T, s.K, s.D)
	g.record(shaders.RoPESplit, p, x.View(), table.View(), positions.View(), q.View(), k.View(), v.View())
	g.onBackwardAll([]*Tensor{q, k, v}, func(dy []engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			p := shaders.RoPESplitBackwardParams{Tokens: p.Tokens, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim, Accumulate: shaders.Flag(add)}
			g.record(shaders.RoPESplitBackward, p, dy[0], dy[1], dy[2], table.View(), positions.View(), dx)
		}
	})
	return q, k, v
}

// RoPESplitInto is RoPESplit for decoding: keys and values go to the rows of keys and
// values, [capacity,K,D] each, from the one that the step block's entry slot says on.
func (g *Graph) RoPESplitInto(x, table, positions *Tensor, s AttentionShape, keys, values *Tensor, slot int) (q *Tensor) {
	check(!g.Train && keys.Size() == values.Size() && keys.Size()%(s.K*s.D) == 0, "rope", "keys and values [capacity,K,D], in no training", keys, values)
	p := g.ropeSplitParams(x, table, positions, s)
	p.Slot = uint32(slot)
	q = g.newLike(x, "q", s.B, s.T, s.H, s.D)
	g.record(shaders.RoPESplit, p, x.View(), table.View(), positions.View(), q.View(), keys.View(), values.View())
	return q
}

// AttentionShape is B rows of T tokens with H heads of queries and K of keys and
// values, of D columns each.
type AttentionShape struct{ B, T, H, K, D int }

func (g *Graph) ropeSplitParams(x, table, positions *Tensor, s AttentionShape) shaders.RoPESplitParams {
	ok := x.Cols() == (s.H+2*s.K)*s.D && x.Size() == s.B*s.T*x.Cols() && s.D%2 == 0 && table.Cols() == s.D
	check(ok, "rope", "x [...,(H+2K)·D] with D even and table [positions,D]", x, table)
	check(positions.Size() == s.B*s.T, "rope", "a position a token", x, positions)
	return shaders.RoPESplitParams{Tokens: x.rows(), Heads: uint32(s.H), KVHeads: uint32(s.K), HeadDim: uint32(s.D)}
}

// RoPETable returns [positions, headDim] values: for each position the cosines
// and then the sines of position·theta^(-2i/headDim). The angles are taken in
// float64: in float32 they would lose 6e-8 of themselves.
func RoPETable(positions, headDim int, theta float64) []float32 {
	half := headDim / 2
	table := make([]float32, positions*headDim)
	for i := range half {
		frequency := math.Pow(theta, -float64(i)/float64(half))
		for p := range positions {
			sin, cos := math.Sincos(float64(p) * frequency)
			table[p*headDim+i], table[p*headDim+half+i] = float32(cos), float32(sin)
		}
	}
	return table
}
