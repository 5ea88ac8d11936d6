package shaders

import "math"

// MuonNormalizeParams are the parameters of MuonNormalize.
type MuonNormalizeParams struct {
	N   uint32  // elements
	Eps float32 // above 0
}

// MuonNormalize divides x by its norm plus Eps, given the sum of its squares, squares[0].
var MuonNormalize = Declare(Decl[MuonNormalizeParams]{
	Name: "muon_normalize",
	Bindings: []Binding{
		{Name: "squares", Access: Read},
		{Name: "x", Access: ReadWrite},
	},
	Variants: elementwise(func(p MuonNormalizeParams) uint32 { return p.N }),
	Axes: func(p MuonNormalizeParams) []Axis {
		return []Axis{{p.N, elementSpans("x"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p MuonNormalizeParams, b Buffers) {
		norm, x := float32(math.Sqrt(float64(b.F32(0)[0])))+p.Eps, b.F32(1)
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				x[i] /= norm
			}
		})
	},
	Reference: func(p MuonNormalizeParams, b []Array) {
		for i := range int(p.N) {
			b[1].F[i] /= math.Sqrt(b[0].F[0]) + float64(p.Eps)
		}
	},
	Cost: func(p MuonNormalizeParams) Cost { return Cost{Flops: float64(p.N), Bytes: 8 * float64(p.N)} },
	Inputs: func(_ MuonNormalizeParams, n []int) map[string]Input {
		return map[string]Input{"squares": {N: n[0], Mean: 2}}
	},
	Cases: func() []Case {
		call := func(n int, squares, eps float32) Case {
			return Case{
				Params: MuonNormalizeParams{N: uint32(n), Eps: eps},
				Inputs: []Input{{F: []float32{squares}}, {N: n, Scale: 1}},
				Rtol:   1e-6, // a square root, a sum and a division: WGSL permits 2.5 units for the last
			}.named("n=%d squares=%g eps=%g", n, squares, eps)
		}
		return []Case{call(1, 4, 1e-7), call(65, 0, 0.5), call(1024, 9, 1), call(1025, 1e-12, 1e-7), call(beyondGroups, 1e6, 1e-7)}
	},
})
