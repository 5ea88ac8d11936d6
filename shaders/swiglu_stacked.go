package shaders

import "slices"

// SwiGLUStackedParams are the parameters of SwiGLUStacked.
type SwiGLUStackedParams struct {
	Rows       Count
	Cols       uint32 // of y
	Activation uint32 // as SwiGLUParams'
}

// SwiGLUStacked is SwiGLU of gates and ups that are concatenated in the rows of x
// [Rows,2·Cols]: y [Rows,Cols].
var SwiGLUStacked = Declare(Decl[SwiGLUStackedParams]{
	Name: "swiglu_stacked",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"exp", "exp_vec", "gelu", "glu", "position"},
	Variants: rowwise(func(p SwiGLUStackedParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "y"}},
	Even:     func(p SwiGLUStackedParams) bool { return p.Cols%2 == 0 },
	Axes: alongCount(func(p *SwiGLUStackedParams) *Count { return &p.Rows }, func(p SwiGLUStackedParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(2 * p.Cols), "y": rowBytes(p.Cols)}
	}, nil),
	CPU: func(h Host, p SwiGLUStackedParams, b Buffers) {
		x, y, cols := b.F32(0), b.F32(1), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				gatedUnit(p.Activation, y[r*cols:][:cols], x[2*r*cols:], x[(2*r+1)*cols:])
			}
		})
	},
	Reference: func(p SwiGLUStackedParams, b []Array) {
		cols := int(p.Cols)
		for i := range int(p.Rows.Max) * cols {
			at := i + i/cols*cols
			y, _ := gatedUnitAt(p.Activation, b[0].F[at])
			b[1].F[i] = y * b[0].F[at+cols]
		}
	},
	Cost: func(p SwiGLUStackedParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 20 * n, Bytes: 12 * n}
	},
	Cases: func() []Case {
		return overActivations(func(activation uint32) []Case {
			// As SwiGLU.
			call := func(rows Count, cols int, x Input, atol float64) Case {
				c := Case{Params: SwiGLUStackedParams{rows, uint32(cols), activation}, Inputs: []Input{x, {N: int(rows.Max) * cols}}, Atol: atol, Rtol: 2e-6}
				if activation == GELUTanh {
					c.Atol, c.Rtol = 5e-6, 5e-6
				}
				return c
			}
			return append(overRows(func(rows Count, cols int) Case {
				return call(rows, cols, Input{N: 2 * int(rows.Max) * cols, Scale: 3}, 1e-7)
			}),
				call(N(1), len(extremeGates)/2, Input{F: extremeGates}, 1e-6).named("extremes"))
		})
	},
})

// extremeGates are a row of extreme gates, and ups of size 1: a form that flushes small
// numbers to 0 must not multiply them by infinity.
var extremeGates = slices.Concat(extremes, []float32{1}, slices.Repeat([]float32{0.5, -1.5}, (len(extremes)+1)/2))
