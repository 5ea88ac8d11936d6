package nn

import (
	"math"

	"patchwork/engine"
	"patchwork/shaders"
)

// RoPE are the inputs of rotary position embedding: a table made by RoPETable, [positions,D],
// and every token's position, int32 [B,T].
type RoPE struct{ Table, Positions *Tensor }

// RoPE rotates every head of x [...,H,D] by the angle of its token's position.
func (g *Graph) RoPE(x *Tensor, r RoPE) *Tensor {
	table, positions := r.Table, r.Positions
	n := len(x.Shape)
	check(n >= 3 && x.Cols()%2 == 0 && table.Cols() == x.Cols(), "rope", "x [...,H,D] with D even and table [positions,D]", x, table)
	heads, d := x.Shape[n-2], x.Shape[n-1]
	check(positions.Size() == x.Size()/heads/d, "rope", "one position per token", x, positions)
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

// RoPETable returns [positions, 2·len(frequencies)] values: for each position the cosines
// and then the sines of position·frequency, times scale. The angles are computed in
// float64: float32 would round them by up to a relative 6e-8.
func RoPETable(positions int, frequencies []float64, scale float64) []float32 {
	half := len(frequencies)
	table := make([]float32, positions*2*half)
	for i, frequency := range frequencies {
		for p := range positions {
			sin, cos := math.Sincos(float64(p) * frequency)
			table[p*2*half+i], table[p*2*half+half+i] = float32(scale*cos), float32(scale*sin)
		}
	}
	return table
}

// RoPEFrequencies are the angles per position of a head's pairs of dimensions:
// theta^(-2i/headDim).
func RoPEFrequencies(headDim int, theta float64) []float64 {
	var out []float64
	for i := range headDim / 2 {
		out = append(out, math.Pow(theta, -2*float64(i)/float64(headDim)))
	}
	return out
}
