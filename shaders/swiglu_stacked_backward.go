package shaders

// SwiGLUStackedBackwardParams are the parameters of SwiGLUStackedBackward.
type SwiGLUStackedBackwardParams struct {
	Rows       Count
	Cols       uint32 // of dy
	Accumulate uint32 // 1: add to dx
	Activation uint32 // as SwiGLUParams'
}

// SwiGLUStackedBackward is SwiGLUBackward for gates and ups that are concatenated in the
// rows of x [Rows,2·Cols], as are their gradients in dx.
var SwiGLUStackedBackward = Declare(Decl[SwiGLUStackedBackwardParams]{
	Name: "swiglu_stacked_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	Include:  []string{"exp", "exp_vec", "gelu", "glu", "position"},
	Variants: rowwise(func(p SwiGLUStackedBackwardParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Halves:   [][]string{{"x", "dy", "dx"}},
	Even:     func(p SwiGLUStackedBackwardParams) bool { return p.Cols%2 == 0 },
	Axes: alongCount(func(p *SwiGLUStackedBackwardParams) *Count { return &p.Rows }, func(p SwiGLUStackedBackwardParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(2 * p.Cols), "dy": rowBytes(p.Cols), "dx": rowBytes(2 * p.Cols)}
	}, nil),
	CPU: func(h Host, p SwiGLUStackedBackwardParams, b Buffers) {
		x, dy, dx, cols := b.F32(0), b.F32(1), b.F32(2), int(p.Cols)
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			product, release := h.Scratch(cols)
			defer release()
			for r := lo; r < hi; r++ {
				gate, up := 2*r*cols, (2*r+1)*cols
				gatedUnitGradient(p.Activation, dx[gate:][:cols], dx[up:], x[gate:], x[up:], dy[r*cols:], product, p.Accumulate != 0)
			}
		})
	},
	Reference: func(p SwiGLUStackedBackwardParams, b []Array) {
		cols := int(p.Cols)
		for i := range int(p.Rows.Max) * cols {
			at := i + i/cols*cols
			y, slope := gatedUnitAt(p.Activation, b[0].F[at])
			up, dy := b[0].F[at+cols], b[1].F[i]
			set(b[2].F, at, dy*up*slope, p.Accumulate)
			set(b[2].F, at+cols, dy*y, p.Accumulate)
		}
	},
	Cost: func(p SwiGLUStackedBackwardParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: 30 * n, Bytes: 20 * n}
	},
	Cases: func() []Case {
		return overActivations(func(activation uint32) []Case {
			return writingAndAdding(func(accumulate uint32) []Case {
				call := func(rows Count, cols int, x Input) Case {
					n := int(rows.Max) * cols
					// As SwiGLUBackward.
					return Case{
						Params: SwiGLUStackedBackwardParams{rows, uint32(cols), accumulate, activation},
						Inputs: []Input{x, {N: n, Scale: 1}, output(2*n, accumulate)}, Atol: 5e-6, Rtol: 5e-6,
					}
				}
				return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, Input{N: 2 * int(rows.Max) * cols, Scale: 2}) }),
					call(N(1), len(extremeGates)/2, Input{F: extremeGates}).named("extremes"))
			})
		})
	},
})
