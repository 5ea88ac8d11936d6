package shaders

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// AdamWParams are the parameters of AdamW.
type AdamWParams struct {
	N           uint32 // elements
	Beta1       float32
	Beta2       float32
	Eps         float32
	WeightDecay float32
	// Slot is where the step block holds, as f32, the learning rate,
	// 1/(1-Beta1^t) and 1/sqrt(1-Beta2^t).
	Slot   uint32 `kernel:"layout"`
	Narrow uint32 // 1: the new parameters are written to narrow too
}

// AdamW computes one step of AdamW (Loshchilov and Hutter, "Decoupled weight decay
// regularization", 2019) over a contiguous segment of parameters p, gradients g and
// moments m and v, the gradients first multiplied by clip[1]; clip[1] = 0 leaves
// everything unchanged.
//
//	p -= lr·decay·p,  m = β₁m + (1-β₁)g,  v = β₂v + (1-β₂)g²
//	p -= lr·m/(1-β₁ᵗ) / (√v/√(1-β₂ᵗ) + eps)
//
// narrow is a 16-bit copy of the parameters, which matmuls read.
var AdamW = Declare(Decl[AdamWParams]{
	Name: "adamw",
	Bindings: []Binding{
		{Name: "clip", Access: Read},
		{Name: "g", Access: Read},
		{Name: "w", Access: ReadWrite},
		{Name: "m", Access: ReadWrite},
		{Name: "v", Access: ReadWrite},
		{Name: "narrow", Access: ReadWrite, Optional: true},
	},
	Variants: elementwise(func(p AdamWParams) uint32 { return p.N }),
	Halves:   [][]string{{"narrow"}},
	Even:     func(p AdamWParams) bool { return p.N%2 == 0 },
	Axes: func(p AdamWParams) []Axis {
		return []Axis{{p.N, elementSpans("g", "w", "m", "v", "narrow"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p AdamWParams, b Buffers) {
		factor := b.F32(0)[1]
		if factor == 0 {
			return
		}
		g, w, m, v := b.F32(1), b.F32(2), b.F32(3), b.F32(4)
		step := h.Step()[p.Slot:]
		lr, c1, c2 := math.Float32frombits(step[0]), math.Float32frombits(step[1]), math.Float32frombits(step[2])
		s := simd.AdamStep{
			Factor: factor, Beta1: p.Beta1, Beta2: p.Beta2, Eps: p.Eps,
			Decay: 1 - lr*p.WeightDecay, Rate: lr * c1, Correction: c2,
		}
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			simd.AdamW(w[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi], s)
			if p.Narrow != 0 {
				copy(b.F32(5)[lo:hi], w[lo:hi])
			}
		})
	},
	Reference: func(p AdamWParams, b []Array) {
		clip, g, w, m, v, step := b[0].F[1], b[1].F, b[2].F, b[3].F, b[4].F, b[6]
		if clip == 0 {
			return
		}
		lr, c1, c2 := stepFloat(step, p.Slot), stepFloat(step, p.Slot+1), stepFloat(step, p.Slot+2)
		beta1, beta2 := float64(p.Beta1), float64(p.Beta2)
		for i := range int(p.N) {
			gi := g[i] * clip
			w[i] -= lr * float64(p.WeightDecay) * w[i]
			m[i] = beta1*m[i] + (1-beta1)*gi
			v[i] = beta2*v[i] + (1-beta2)*gi*gi
			w[i] -= lr * m[i] * c1 / (math.Sqrt(v[i])*c2 + float64(p.Eps))
			if p.Narrow != 0 {
				b[5].F[i] = w[i]
			}
		}
	},
	Cost: func(p AdamWParams) Cost { return Cost{Flops: 16 * float64(p.N), Bytes: 28 * float64(p.N)} },
	Inputs: func(_ AdamWParams, n []int) map[string]Input {
		return map[string]Input{"clip": {N: n[0], Mean: 1}, "v": {N: n[4], Mean: 0.01}}
	},
	Cases: func() []Case {
		const slot = 7
		call := func(n int, clip float32, decay float32, scale float64, narrow bool) Case {
			c := Case{
				Params: AdamWParams{N: uint32(n), Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: decay, Slot: slot, Narrow: Flag(narrow)},
				Inputs: []Input{{F: []float32{3, clip}}, {N: n, Scale: scale}, {N: n, Scale: 1}, {N: n, Scale: scale}, positives(n), {N: n, Scale: 1, Absent: !narrow}},
				Rtol:   2e-6, // a few roundings of similar size; 1-beta2 has a relative error of 1e-6
				Atol:   1e-7,
			}
			for i, f := range []float32{1e-3, 1.9, 2.3} {
				c.Step = withWord(c.Step, slot+i, math.Float32bits(f))
			}
			return c.named("n=%d clip=%g decay=%g g=%g narrow=%t", n, clip, decay, scale, narrow)
		}
		// Gradients so small that Eps dominates the denominator.
		small := call(65, 1, 0.1, 1e-9, false)
		small.Inputs[4] = Input{F: slices.Repeat([]float32{1e-18}, 65)}
		return []Case{
			small, call(1024, 1, 0.1, 1, false), call(1, 1, 0, 1, false), call(65, 0.25, 0.1, 1, true), call(130, 0.25, 0.1, 1, true), call(1025, 1, 0.1, 1e-3, false),
			call(1026, 0, 0.1, 1, true), call(65535*64+1, 1, 0.1, 1, false),
		}
	},
})
