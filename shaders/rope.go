package shaders

import "patchwork/shaders/simd"

// RoPEParams are the parameters of RoPE.
type RoPEParams struct {
	Tokens     Count
	Heads      uint32
	HeadDim    uint32
	Inverse    uint32 // 1: turn back, which is the gradient
	Accumulate uint32 // 1: add to y
}

// RoPE turns the pairs (i, i+D/2) of every head of x [Tokens,Heads,HeadDim] by
// the angle of the token's position (Su et al., "RoFormer", 2021; half-split as
// in GPT-NeoX): with c and s from table [positions, D], cosines then sines,
//
//	y[i] = x[i]·c - x[i+D/2]·s,  y[i+D/2] = x[i+D/2]·c + x[i]·s
var RoPE = Declare(Decl[RoPEParams]{
	Name: "rope",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "table", Access: Read},
		{Name: "positions", Type: I32, Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p RoPEParams, b Buffers) {
		x, table, positions, y := b.F32(0), b.F32(1), b.I32(2), b.F32(3)
		heads, d := int(p.Heads), int(p.HeadDim)
		h.Parallel(p.Tokens.At(h.Step()), rowGrain(heads*d), func(lo, hi int) {
			for t := lo; t < hi; t++ {
				angles := table[int(positions[t])*d:][:d]
				for head := range heads {
					at := (t*heads + head) * d
					rotate(x[at:][:d], angles, y[at:][:d], p.Inverse != 0, p.Accumulate != 0)
				}
			}
		})
	},
})

func rotate(x, angles, y []float32, inverse, accumulate bool) {
	half := len(x) / 2
	x0, x1, y0, y1 := x[:half], x[half:][:half], y[:half], y[half:][:half]
	cos, sin := angles[:half], angles[half:][:half]
	sign := float32(1)
	if inverse {
		sign = -1
	}
	simd.Rotate(y0, y1, x0, x1, cos, sin, sign, accumulate)
}
