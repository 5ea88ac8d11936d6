package shaders

// AppendMeansBackwardParams are the parameters of AppendMeansBackward.
type AppendMeansBackwardParams struct {
	Rows              Count
	Cols              uint32
	Channels          uint32
	AccumulateX       uint32 // add to dx
	AccumulatePatches uint32 // add to dpatches
	WithPatches       uint32 // dpatches is wanted: pixels need none
}

// AppendMeansBackward computes the gradients of AppendMeans from dy [Rows,Cols+Channels]: dx is the
// first Cols columns of dy, and dpatches the gradient of each mean, divided by its pixels, at all
// of them.
var AppendMeansBackward = Declare(Decl[AppendMeansBackwardParams]{
	Name: "append_means_backward",
	Bindings: []Binding{
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
		{Name: "dpatches", Access: ReadWrite, Optional: true},
	},
	Include:  []string{"position"},
	Variants: rowwise(func(p AppendMeansBackwardParams) (rows, cols int) { return int(p.Rows.Max), int(p.Cols) }),
	Axes: alongCount(func(p *AppendMeansBackwardParams) *Count { return &p.Rows }, func(p AppendMeansBackwardParams) map[string]int64 {
		return map[string]int64{"dy": rowBytes(p.Cols + p.Channels), "dx": rowBytes(p.Cols), "dpatches": rowBytes(p.Cols)}
	}, nil),
	CPU: func(h Host, p AppendMeansBackwardParams, b Buffers) {
		dy, dx, dpatches := b.F32(0), b.F32(1), b.F32(2)
		cols, channels := int(p.Cols), int(p.Channels)
		pixels := cols / channels
		h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				dy := dy[r*(cols+channels):][:cols+channels]
				moveRow(dx[r*cols:][:cols], dy, p.AccumulateX != 0)
				for i := range cols * int(p.WithPatches) {
					d := dy[cols+i/pixels] / float32(pixels)
					if p.AccumulatePatches != 0 {
						d += dpatches[r*cols+i]
					}
					dpatches[r*cols+i] = d
				}
			}
		})
	},
	Reference: func(p AppendMeansBackwardParams, b []Array) {
		dy, dx, dpatches, cols, channels := b[0].F, b[1].F, b[2].F, int(p.Cols), int(p.Channels)
		for r := range int(p.Rows.Max) {
			for i := range cols {
				set(dx, r*cols+i, dy[r*(cols+channels)+i], p.AccumulateX)
				if p.WithPatches != 0 {
					set(dpatches, r*cols+i, dy[r*(cols+channels)+cols+i/(cols/channels)]*float64(channels)/float64(cols), p.AccumulatePatches)
				}
			}
		}
	},
	Cost: func(p AppendMeansBackwardParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n * float64(p.AccumulateX+p.WithPatches), Bytes: n * float64(8+4*p.WithPatches)}
	},
	Cases: func() []Case {
		var cases []Case
		for _, p := range []AppendMeansBackwardParams{{}, {AccumulateX: 1}, {WithPatches: 1}, {AccumulateX: 1, AccumulatePatches: 1, WithPatches: 1}, {AccumulatePatches: 1, WithPatches: 1}} {
			for _, c := range meansCases(func(rows Count, side, channels int) Case {
				cols := channels * side * side
				n := int(rows.Max) * cols
				p.Rows, p.Cols, p.Channels = rows, uint32(cols), uint32(channels)
				patches := output(n, p.AccumulatePatches)
				patches.Absent = p.WithPatches == 0
				return Case{
					Params: p, Inputs: []Input{{N: n + int(rows.Max)*channels, Scale: 1}, output(n, p.AccumulateX), patches},
					Rtol: 1e-6, Atol: 3e-7, // a division and a sum
				}
			}) {
				cases = append(cases, c.named("%s, adding=%d,%d patches=%d", c.Name, p.AccumulateX, p.AccumulatePatches, p.WithPatches))
			}
		}
		return cases
	},
})
