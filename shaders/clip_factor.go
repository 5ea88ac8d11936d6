package shaders

import "math"

// ClipFactorParams are the parameters of ClipFactor.
type ClipFactorParams struct {
	MaxNorm float32 // 0: no clipping
	// ScaleSlot is the step block's entry (f32) with the loss scale of the gradients; 0 =
	// none.
	ScaleSlot uint32 `kernel:"layout"`
}

// ClipFactor turns the sum of the squares of all gradients, x[0], into y[0] = their norm
// without the scale and y[1] = min(1, MaxNorm/(norm + 1e-6)) divided by the scale, by
// which AdamW multiplies them; 0 when the norm is not finite, so that AdamW skips the
// step.
var ClipFactor = Declare(Decl[ClipFactorParams]{
	Name: "clip_factor",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: One(func(ClipFactorParams) [3]uint32 { return [3]uint32{1, 1, 1} }),
	CPU: func(h Host, p ClipFactorParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		inverse := float32(1)
		if p.ScaleSlot != 0 {
			inverse = 1 / math.Float32frombits(h.Step()[p.ScaleSlot])
		}
		norm := float32(math.Sqrt(float64(x[0]))) * inverse
		y[0] = norm
		switch {
		case !(norm <= math.MaxFloat32):
			y[1] = 0
		case p.MaxNorm == 0:
			y[1] = inverse
		default:
			y[1] = min(1, p.MaxNorm/(norm+1e-6)) * inverse
		}
	},
	Reference: func(p ClipFactorParams, b []Array) {
		x, y, scale := b[0].F[0], b[1].F, 1.0
		if p.ScaleSlot != 0 {
			scale = stepFloat(b[2], p.ScaleSlot)
		}
		y[0], y[1] = math.Sqrt(x)/scale, 1/scale
		if p.MaxNorm != 0 {
			y[1] = min(1, float64(p.MaxNorm)/(y[0]+1e-6)) / scale
		}
		if math.IsInf(x, 0) || math.IsNaN(x) {
			y[1] = 0
		}
	},
	Cost: func(ClipFactorParams) Cost { return Cost{Flops: 3, Bytes: 12} },
	Inputs: func(_ ClipFactorParams, n []int) map[string]Input {
		return map[string]Input{"x": {N: n[0], Mean: 2}}
	},
	Cases: func() []Case {
		var cases []Case
		for _, maxNorm := range []float32{0, 1, 1e-6} {
			for _, x := range []float32{0, 1e-12, 0.25, 9, 1e30, float32(math.Inf(1)), float32(math.NaN())} {
				c := Case{Params: ClipFactorParams{MaxNorm: maxNorm}, Inputs: []Input{{F: []float32{x}}, {N: 2}}, Rtol: 1e-6} // three roundings
				cases = append(cases, c.named("x=%g most=%g", x, maxNorm))
				c.Params, c.Step = ClipFactorParams{MaxNorm: maxNorm, ScaleSlot: 5}, withWord(nil, 5, math.Float32bits(512))
				c.Rtol = 2e-6
				cases = append(cases, c.named("x=%g most=%g scale=512", x, maxNorm))
			}
		}
		return cases
	},
})
