package shaders

import "math"

// MuonUpdateParams are the parameters of MuonUpdate.
type MuonUpdateParams struct {
	N           uint32  // elements
	Rate        float32 // by which the learning rate is multiplied
	Scale       float32 // by which x is multiplied
	WeightDecay float32
	Slot        uint32 `kernel:"layout"` // step block entry with the learning rate, f32
	Narrow      uint32 // 1: the new parameters are written to narrow too
}

// MuonUpdate is the last part of a step of Muon: it moves the parameters w along the orthogonalised
// direction x, with decoupled weight decay. clip[1] = 0 leaves everything unchanged.
//
//	w -= Rate·lr·(WeightDecay·w + Scale·x)
//
// narrow is a 16-bit copy of the parameters, which matmuls read.
var MuonUpdate = Declare(Decl[MuonUpdateParams]{
	Name: "muon_update",
	Bindings: []Binding{
		{Name: "clip", Access: Read},
		{Name: "x", Access: Read},
		{Name: "w", Access: ReadWrite},
		{Name: "narrow", Access: ReadWrite, Optional: true},
	},
	Variants: elementwise(func(p MuonUpdateParams) uint32 { return p.N }),
	Halves:   [][]string{{"narrow"}},
	Even:     func(p MuonUpdateParams) bool { return p.N%2 == 0 },
	Axes: func(p MuonUpdateParams) []Axis {
		return []Axis{{p.N, elementSpans("x", "w", "narrow"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p MuonUpdateParams, b Buffers) {
		if b.F32(0)[1] == 0 {
			return
		}
		x, w := b.F32(1), b.F32(2)
		lr := p.Rate * math.Float32frombits(h.Step()[p.Slot])
		keep, rate := 1-lr*p.WeightDecay, lr*p.Scale
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			x, w := x[lo:hi], w[lo:hi]
			for i := range w {
				w[i] = w[i]*keep - rate*x[i]
			}
			if p.Narrow != 0 {
				copy(b.F32(3)[lo:hi], w)
			}
		})
	},
	Reference: func(p MuonUpdateParams, b []Array) {
		clip, x, w, step := b[0].F[1], b[1].F, b[2].F, b[4]
		if clip == 0 {
			return
		}
		lr := float64(p.Rate) * stepFloat(step, p.Slot)
		for i := range int(p.N) {
			w[i] -= lr * (float64(p.WeightDecay)*w[i] + float64(p.Scale)*x[i])
			if p.Narrow != 0 {
				b[3].F[i] = w[i]
			}
		}
	},
	Cost: func(p MuonUpdateParams) Cost { return Cost{Flops: 3 * float64(p.N), Bytes: 12 * float64(p.N)} },
	Inputs: func(_ MuonUpdateParams, n []int) map[string]Input {
		return map[string]Input{"clip": {N: n[0], Mean: 1}}
	},
	Cases: func() []Case {
		const slot = 7
		call := func(n int, clip, decay float32, narrow bool) Case {
			return Case{
				Params: MuonUpdateParams{N: uint32(n), Rate: 4, Scale: 3, WeightDecay: decay, Slot: slot, Narrow: Flag(narrow)},
				Inputs: []Input{{F: []float32{3, clip}}, {N: n, Scale: 1}, {N: n, Scale: 1}, {N: n, Scale: 1, Absent: !narrow}},
				Step:   withWord(nil, slot, math.Float32bits(0.01)),
				Rtol:   1e-6, Atol: 2e-7, // a few roundings of values of size 1
			}.named("n=%d clip=%g decay=%g narrow=%t", n, clip, decay, narrow)
		}
		return []Case{
			call(1, 1, 0, false), call(65, 0.25, 0.1, false), call(130, 1, 0.1, true), call(1024, 1, 0, true), call(1025, 1, 0.1, true),
			call(1026, 0, 0.1, true), call(beyondGroups, 1, 0.1, false),
		}
	},
})
