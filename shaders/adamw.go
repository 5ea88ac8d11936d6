package shaders

import (
	"math"

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
	Slot uint32
}

// AdamW does one step of AdamW (Loshchilov and Hutter, "Decoupled weight decay
// regularization", 2019) over a contiguous segment of parameters p, gradients
// g and moments m and v, the gradients first multiplied by clip[1]; clip[1] = 0
// leaves everything as it is.
//
//	p -= lr·decay·p,  m = β₁m + (1-β₁)g,  v = β₂v + (1-β₂)g²
//	p -= lr·m/(1-β₁ᵗ) / (√v/√(1-β₂ᵗ) + eps)
var AdamW = Declare(Decl[AdamWParams]{
	Name: "adamw",
	Bindings: []Binding{
		{Name: "clip", Access: Read},
		{Name: "g", Access: Read},
		{Name: "w", Access: ReadWrite},
		{Name: "m", Access: ReadWrite},
		{Name: "v", Access: ReadWrite},
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
		})
	},
})
