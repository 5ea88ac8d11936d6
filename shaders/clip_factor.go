package shaders

import "math"

// ClipFactorParams are the parameters of ClipFactor.
type ClipFactorParams struct {
	MaxNorm float32 // 0: no clipping
}

// ClipFactor turns the sum of the squares of all gradients, x[0], into
// y[0] = their norm and y[1] = min(1, MaxNorm/(norm + 1e-6)), by which AdamW
// multiplies them; 0 when the norm is not finite, which AdamW takes as "skip".
var ClipFactor = Declare(Decl[ClipFactorParams]{
	Name: "clip_factor",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	CPU: func(h Host, p ClipFactorParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		norm := float32(math.Sqrt(float64(x[0])))
		y[0] = norm
		switch {
		case !(norm <= math.MaxFloat32):
			y[1] = 0
		case p.MaxNorm == 0:
			y[1] = 1
		default:
			y[1] = min(1, p.MaxNorm/(norm+1e-6))
		}
	},
})
