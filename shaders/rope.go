package shaders

import "patchwork/shaders/simd"

// RoPEParams are the parameters of RoPE.
type RoPEParams struct {
	Tokens     Count
	Heads      uint32
	HeadDim    uint32
	Inverse    uint32 // 1: inverse rotation, for the gradient
	Accumulate uint32 // 1: add to y
}

// RoPE rotates the pairs (i, i+D/2) of every head of x [Tokens,Heads,HeadDim] by the
// angle of the token's position (Su et al., "RoFormer", 2021; half-split as in GPT-NeoX):
// with c and s from table [positions, D], cosines then sines,
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
	Include:  []string{"rope"},
	Variants: elementwise(func(p RoPEParams) uint32 { return p.Tokens.Max * p.Heads * p.HeadDim / 2 }),
	Halves:   [][]string{{"x", "y"}},
	Even:     func(p RoPEParams) bool { return p.HeadDim%4 == 0 },
	Axes: alongCount(func(p *RoPEParams) *Count { return &p.Tokens }, func(p RoPEParams) map[string]int64 {
		token := rowBytes(p.Heads * p.HeadDim)
		return map[string]int64{"x": token, "positions": 4, "y": token}
	}, nil),
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
	Reference: func(p RoPEParams, b []Array) {
		x, table, positions, y := b[0].F, b[1].F, b[2].I, b[3].F
		d := int(p.HeadDim)
		sign := 1 - 2*float64(p.Inverse)
		for head := range int(p.Tokens.Max * p.Heads) {
			angles := table[int(positions[head/int(p.Heads)])*d:][:d]
			for i := range d / 2 {
				i0, i1 := head*d+i, head*d+d/2+i
				c, s := angles[i], sign*angles[d/2+i]
				set(y, i0, x[i0]*c-x[i1]*s, p.Accumulate)
				set(y, i1, x[i1]*c+x[i0]*s, p.Accumulate)
			}
		}
	},
	Cost: func(p RoPEParams) Cost {
		n := float64(p.Tokens.Max) * float64(p.Heads) * float64(p.HeadDim)
		return Cost{Flops: 3 * n, Bytes: 12 * n}
	},
	Inputs: func(p RoPEParams, n []int) map[string]Input {
		return map[string]Input{"positions": integers(n[2], 0, n[1]/int(p.HeadDim))}
	},
	Cases: func() []Case {
		call := func(tokens Count, heads, d int, inverse, accumulate uint32) Case {
			const positions = 50
			n := int(tokens.Max) * heads * d
			return Case{
				Params: RoPEParams{tokens, uint32(heads), uint32(d), inverse, accumulate},
				Inputs: []Input{{N: n, Scale: 1}, {N: positions * d, Scale: 1}, integers(int(tokens.Max), 0, positions), output(n, accumulate)},
				Atol:   1e-6, Rtol: 1e-6, // three roundings of values of size 1
			}.named("%dx%dx%d inverse=%d add=%d", tokens.Max, heads, d, inverse, accumulate)
		}
		return append(overCounts(9, func(tokens Count) Case { return call(tokens, 3, 16, 0, 0) }),
			call(N(1), 1, 2, 0, 0), call(N(7), 3, 6, 0, 0), call(N(33), 9, 64, 1, 0), call(N(33), 9, 64, 0, 1), call(N(5), 2, 128, 1, 1), call(N(300), 3, 16, 0, 1),
			call(N(65537), 16, 8, 0, 0))
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
