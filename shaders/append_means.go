package shaders

// AppendMeansParams are the parameters of AppendMeans.
type AppendMeansParams struct {
	Rows     Count  // patches
	Cols     uint32 // features of a patch: Channels·P²
	Channels uint32
}

// AppendMeans writes y [Rows,Cols+Channels]: the rows of x [Rows,Cols] followed by the mean of each
// channel of the patches [Rows,Channels,Cols/Channels].
var AppendMeans = Declare(Decl[AppendMeansParams]{
	Name: "append_means",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "patches", Access: Read},
		{Name: "y", Access: Write},
	},
	Include:  []string{"position"},
	Variants: rowwise(func(p AppendMeansParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols + p.Channels) }),
	Axes: alongCount(func(p *AppendMeansParams) *Count { return &p.Rows }, func(p AppendMeansParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "patches": rowBytes(p.Cols), "y": rowBytes(p.Cols + p.Channels)}
	}, nil),
	CPU: func(h Host, p AppendMeansParams, b Buffers) {
		x, patches, y := b.F32(0), b.F32(1), b.F32(2)
		cols, channels := int(p.Cols), int(p.Channels)
		pixels := cols / channels
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				y := y[r*(cols+channels):][:cols+channels]
				copy(y, x[r*cols:][:cols])
				for c := range channels {
					var sum float32
					for _, v := range patches[r*cols+c*pixels:][:pixels] {
						sum += v
					}
					y[cols+c] = sum / float32(pixels)
				}
			}
		})
	},
	Reference: func(p AppendMeansParams, b []Array) {
		x, patches, y, cols, channels := b[0].F, b[1].F, b[2].F, int(p.Cols), int(p.Channels)
		for r := range int(p.Rows.Max) {
			for i := range cols {
				y[r*(cols+channels)+i] = x[r*cols+i]
			}
			for c := range channels {
				mean := 0.0
				for i := range cols / channels {
					mean += patches[r*cols+c*(cols/channels)+i] / float64(cols/channels)
				}
				y[r*(cols+channels)+cols+c] = mean
			}
		}
	},
	Cost: func(p AppendMeansParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n, Bytes: 12 * n}
	},
	Cases: func() []Case {
		return meansCases(func(rows Count, side, channels int) Case {
			cols := channels * side * side
			n := int(rows.Max) * cols
			return Case{
				Params: AppendMeansParams{rows, uint32(cols), uint32(channels)},
				Inputs: []Input{{N: n, Scale: 1}, {N: n, Scale: 1, Mean: 0.5}, {N: n + int(rows.Max)*channels}},
				// A random walk of the roundings of side² sums, divided by their number.
				Rtol: 1e-6, Atol: 1e-6,
			}
		})
	},
})

// meansCases are patches of several sizes and channels.
func meansCases(call func(rows Count, side, channels int) Case) []Case {
	cases := overCounts(70, func(rows Count) Case { return call(rows, 4, 3) })
	for _, s := range [][3]int{{1, 1, 1}, {3, 2, 2}, {64, 8, 3}, {300, 4, 3}, {5, 7, 3}, {2, 32, 3}, {65537, 1, 2}} {
		cases = append(cases, call(N(s[0]), s[1], s[2]).named("%d patches of %d, %d channels", s[0], s[1], s[2]))
	}
	return cases
}
