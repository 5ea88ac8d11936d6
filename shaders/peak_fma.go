package shaders

import "patchwork/shaders/simd"

// PeakFMAParams are the parameters of PeakFMA.
type PeakFMAParams struct {
	N      uint32 // elements
	Rounds uint32 // of FMARound multiply-adds
	A, B   float32
}

// FMARound is the number of multiply-adds of a round.
const FMARound = 8

// PeakFMA computes y by FMARound·Rounds times x = x·A + B for every element of x: almost
// no memory traffic and enough independent chains to measure a device's peak FLOP/s.
var PeakFMA = Declare(Decl[PeakFMAParams]{
	Name: "peak_fma",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: One(func(p PeakFMAParams) [3]uint32 { return grid1((int(p.N)+7)/8, 64) }),
	CPU: func(h Host, p PeakFMAParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(int(p.N), simd.FMABlock, func(lo, hi int) {
			copy(y[lo:hi], x[lo:hi])
			simd.FMA(y[lo:hi], p.A, p.B, FMARound*int(p.Rounds))
		})
	},
	Reference: func(p PeakFMAParams, b []Array) {
		for i := range int(p.N) {
			v := b[0].F[i]
			for range FMARound * p.Rounds {
				v = v*float64(p.A) + float64(p.B)
			}
			b[1].F[i] = v
		}
	},
	Cost: func(p PeakFMAParams) Cost {
		return Cost{Flops: 2 * FMARound * float64(p.Rounds) * float64(p.N), Bytes: 8 * float64(p.N)}
	},
	Cases: func() []Case {
		var cases []Case
		for _, s := range [][2]int{{1, 1}, {7, 3}, {12, 2}, {13, 2}, {64, 2}, {1031, 5}, {65535*64 + 1, 0}, {400, 40}} {
			c := Case{
				Params: PeakFMAParams{N: uint32(s[0]), Rounds: uint32(s[1]), A: -0.75, B: 1.5},
				Inputs: []Input{{N: s[0], Scale: 1}, {N: s[0]}},
				// A rounding of values up to 6 in each step, of which 3/4 carry over to
				// the next.
				Atol: 4 * 6 * 6e-8,
			}
			cases = append(cases, c.named("n=%d, %d rounds", s[0], s[1]))
		}
		return cases
	},
})
