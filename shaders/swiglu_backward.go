package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// SwiGLUBackwardParams are the parameters of SwiGLUBackward.
type SwiGLUBackwardParams struct {
	N              Count  // elements of dy
	Cols           uint32 // as SwiGLUParams'; dgate then is laid out as gate
	AccumulateGate uint32 // with Cols, add to both
	AccumulateUp   uint32
}

// SwiGLUBackward computes, with s = sigmoid(gate),
//
//	dgate = dy·up·s·(1 + gate·(1 - s)),  dup = dy·gate·s
var SwiGLUBackward = Declare(Decl[SwiGLUBackwardParams]{
	Name: "swiglu_backward",
	Bindings: []Binding{
		{Name: "gate", Access: Read},
		{Name: "up", Access: Read, Optional: true},
		{Name: "dy", Access: Read},
		{Name: "dgate", Access: ReadWrite},
		{Name: "dup", Access: ReadWrite, Optional: true},
	},
	Include:  []string{"exp", "exp_vec"},
	Variants: elementwise(func(p SwiGLUBackwardParams) uint32 { return p.N.Max }),
	Halves:   [][]string{{"gate", "up", "dy", "dgate", "dup"}, {"gate", "dy", "dgate"}},
	Even:     func(p SwiGLUBackwardParams) bool { return p.N.Max%2 == 0 && p.Cols%2 == 0 },
	Axes: func(p SwiGLUBackwardParams) []Axis {
		return sideBySide{int(p.Cols)}.axes(p.N, []string{"gate", "dgate"}, []string{"up", "dy", "dup"}, func(n Count) any { p.N = n; return p })
	},
	CPU: func(h Host, p SwiGLUBackwardParams, b Buffers) {
		gate, up, dy, dgate, dup := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4)
		addGate, addUp := p.AccumulateGate != 0, p.addUp() != 0
		pairs := sideBySide{int(p.Cols)}
		h.Parallel(p.N.At(h.Step()), elementGrain, func(lo, hi int) {
			pairs.pieces(lo, hi, gate, up, func(lo, hi int, gate, up []float32) {
				pairs.pieces(lo, hi, dgate, dup, func(lo, hi int, dgate, dup []float32) {
					if addUp && !addGate {
						clear(dgate)
					}
					if addGate && !addUp {
						clear(dup)
					}
					simd.SwiGLUGradient(dgate, dup, gate, up, dy[lo:hi], addGate || addUp)
				})
			})
		})
	},
	Reference: func(p SwiGLUBackwardParams, b []Array) {
		for i := range int(p.N.Max) {
			pairs := sideBySide{int(p.Cols)}
			gateAt, upAt := pairs.places(i)
			gate, up, dy := b[0].F[gateAt], pairs.upsOf(b[0].F, b[1].F)[upAt], b[2].F[i]
			s := 1 / (1 + math.Exp(-gate))
			set(b[3].F, gateAt, dy*up*s*(1+gate*(1-s)), p.AccumulateGate)
			set(pairs.upsOf(b[3].F, b[4].F), upAt, dy*gate*s, p.addUp())
		}
	},
	Cost: func(p SwiGLUBackwardParams) Cost {
		return Cost{Flops: 30 * float64(p.N.Max), Bytes: 20 * float64(p.N.Max)}
	},
	Cases: func() []Case {
		// As SwiGLU; the slope is a difference where it crosses 0.
		call := func(n Count, gate Input, addGate, addUp uint32) Case {
			m := int(n.Max)
			inputs := []Input{gate, {N: m, Scale: 1}, {N: m, Scale: 1}, output(m, addGate), output(m, addUp)}
			return Case{Params: SwiGLUBackwardParams{N: n, AccumulateGate: addGate, AccumulateUp: addUp}, Inputs: inputs, Atol: 5e-6, Rtol: 5e-6}
		}
		cases := writingAndAdding(func(accumulate uint32) []Case {
			return overSizes(func(n Count) Case { return call(n, Input{N: int(n.Max), Scale: 3}, accumulate, accumulate) })
		})
		cases = append(cases, writingAndAdding(func(accumulate uint32) []Case {
			return overPairs(func(n Count, cols int) Case {
				m := int(n.Max)
				inputs := []Input{{N: 2 * m, Scale: 2}, {Absent: true}, {N: m, Scale: 1}, output(2*m, accumulate), {Absent: true}}
				return Case{Params: SwiGLUBackwardParams{N: n, Cols: uint32(cols), AccumulateGate: accumulate}, Inputs: inputs, Atol: 5e-6, Rtol: 5e-6}
			})
		})...)
		return append(cases,
			call(N(65), Input{N: 65, Scale: 3}, 1, 0).named("adding to dgate"),
			call(N(65), Input{N: 65, Scale: 3}, 0, 1).named("adding to dup"),
			call(N(len(extremes)), Input{F: extremes}, 0, 0).named("extremes"))
	},
})

// addUp says whether dup is added to, wherever it lies.
func (p SwiGLUBackwardParams) addUp() uint32 {
	if p.Cols != 0 {
		return p.AccumulateGate
	}
	return p.AccumulateUp
}
