package shaders

// MuonMomentumParams are the parameters of MuonMomentum.
type MuonMomentumParams struct {
	N        uint32 // elements
	Momentum float32
}

// MuonMomentum is the first part of a step of Muon (Jordan et al., "Muon: an optimizer for hidden
// layers in neural networks", 2024) for one matrix: Nesterov's momentum of the gradients g, first
// multiplied by clip[1]. x is the direction that is then orthogonalised.
//
//	m = μ·m + (1-μ)·g,  x = μ·m + (1-μ)·g
//
// clip[1] = 0 leaves m unchanged and makes x 0.
var MuonMomentum = Declare(Decl[MuonMomentumParams]{
	Name: "muon_momentum",
	Bindings: []Binding{
		{Name: "clip", Access: Read},
		{Name: "g", Access: Read},
		{Name: "m", Access: ReadWrite},
		{Name: "x", Access: Write},
	},
	Variants: elementwise(func(p MuonMomentumParams) uint32 { return p.N }),
	Axes: func(p MuonMomentumParams) []Axis {
		return []Axis{{p.N, elementSpans("g", "m", "x"), func(_, n uint32) any { p.N = n; return p }}}
	},
	CPU: func(h Host, p MuonMomentumParams, b Buffers) {
		factor, g, m, x := b.F32(0)[1], b.F32(1), b.F32(2), b.F32(3)
		h.Parallel(int(p.N), elementGrain, func(lo, hi int) {
			if factor == 0 {
				clear(x[lo:hi])
				return
			}
			g, m, x := g[lo:hi], m[lo:hi], x[lo:hi]
			for i := range x {
				part := (1 - p.Momentum) * (g[i] * factor)
				m[i] = p.Momentum*m[i] + part
				x[i] = p.Momentum*m[i] + part
			}
		})
	},
	Reference: func(p MuonMomentumParams, b []Array) {
		clip, g, m, x, momentum := b[0].F[1], b[1].F, b[2].F, b[3].F, float64(p.Momentum)
		for i := range int(p.N) {
			if clip == 0 {
				x[i] = 0
				continue
			}
			m[i] = momentum*m[i] + (1-momentum)*g[i]*clip
			x[i] = momentum*m[i] + (1-momentum)*g[i]*clip
		}
	},
	Cost: func(p MuonMomentumParams) Cost { return Cost{Flops: 6 * float64(p.N), Bytes: 16 * float64(p.N)} },
	Inputs: func(_ MuonMomentumParams, n []int) map[string]Input {
		return map[string]Input{"clip": {N: n[0], Mean: 1}}
	},
	Cases: func() []Case {
		call := func(n int, clip, momentum float32) Case {
			return Case{
				Params: MuonMomentumParams{N: uint32(n), Momentum: momentum},
				Inputs: []Input{{F: []float32{3, clip}}, {N: n, Scale: 1}, {N: n, Scale: 1}, {N: n}},
				// A few roundings of values of size 1; 1-momentum has a relative error of 1e-6.
				Rtol: 3e-6, Atol: 3e-7,
			}.named("n=%d clip=%g momentum=%g", n, clip, momentum)
		}
		return []Case{call(1, 1, 0.95), call(65, 0.25, 0.95), call(1024, 1, 0.5), call(1025, 2, 0), call(130, 0, 0.95), call(beyondGroups, 1, 0.95)}
	},
})
