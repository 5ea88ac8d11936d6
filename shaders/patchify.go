package shaders

// PatchifyParams are the parameters of Patchify and PatchifyBackward.
type PatchifyParams struct {
	Rows       Count  // patches: images × (Height/Side)·(Width/Side)
	Height     uint32 // of the images
	Width      uint32
	Side       uint32 // side of a patch, P
	Channels   uint32 // C
	Accumulate uint32
}

// Patchify divides images x [N,C,Height,Width] into patches y [N·L, C·P·P], L =
// (Height/P)·(Width/P), patches row by row, features by channel, then row, then column.
var Patchify = Declare(Decl[PatchifyParams]{
	Name: "patchify",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Include: []string{"patches", "position"},
	Variants: One(func(p PatchifyParams) [3]uint32 {
		return gridRows(int(p.Rows.Max), int(p.Channels*p.Side*p.Side))
	}),
	CPU: func(h Host, p PatchifyParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		patchLines(h, p, func(pixel, feature, n int) {
			moveRow(y[feature:][:n], x[pixel:], p.Accumulate != 0)
		})
	},
	Reference: func(p PatchifyParams, b []Array) {
		eachPixel(p, func(pixel, feature int) { set(b[1].F, feature, b[0].F[pixel], p.Accumulate) })
	},
	Cost:  patchifyCost,
	Cases: patchifyCases,
})

// PatchifyBackward writes the gradient of the patches to their pixels in the images: dx
// from dy, laid out as x and y of Patchify.
var PatchifyBackward = Declare(Decl[PatchifyParams]{
	Name: "patchify_backward",
	Bindings: []Binding{
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	Include: []string{"patches", "position"},
	Variants: One(func(p PatchifyParams) [3]uint32 {
		return gridRows(int(p.Rows.Max), int(p.Channels*p.Side*p.Side))
	}),
	CPU: func(h Host, p PatchifyParams, b Buffers) {
		dy, dx := b.F32(0), b.F32(1)
		patchLines(h, p, func(pixel, feature, n int) {
			moveRow(dx[pixel:][:n], dy[feature:], p.Accumulate != 0)
		})
	},
	Reference: func(p PatchifyParams, b []Array) {
		eachPixel(p, func(pixel, feature int) { set(b[1].F, pixel, b[0].F[feature], p.Accumulate) })
	},
	Cost:  patchifyCost,
	Cases: patchifyCases,
})

// patchLines calls f for every line of every patch with its offsets in the images and in
// the patches, and its length.
func patchLines(h Host, p PatchifyParams, f func(pixel, feature, n int)) {
	height, width, side, channels := int(p.Height), int(p.Width), int(p.Side), int(p.Channels)
	across := width / side
	patches := height / side * across
	h.Parallel(p.Rows.At(h.Step()), rowGrain(channels*side*side), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			image, at := r/patches, r%patches
			for i := range channels * side {
				c, row := i/side, i%side
				f(((image*channels+c)*height+at/across*side+row)*width+at%across*side, (r*channels*side+i)*side, side)
			}
		}
	})
}

// eachPixel is patchLines for the references, a pixel at a time.
func eachPixel(p PatchifyParams, f func(pixel, feature int)) {
	height, width, side, channels := int(p.Height), int(p.Width), int(p.Side), int(p.Channels)
	feature := 0
	for patch := range int(p.Rows.Max) {
		image, down, across := patch/(height/side*(width/side)), patch/(width/side)%(height/side), patch%(width/side)
		for c := range channels {
			for y := down * side; y < (down+1)*side; y++ {
				for x := across * side; x < (across+1)*side; x++ {
					f(((image*channels+c)*height+y)*width+x, feature)
					feature++
				}
			}
		}
	}
}

func patchifyCost(p PatchifyParams) Cost {
	n := float64(p.Rows.Max) * float64(p.Channels*p.Side*p.Side)
	return Cost{Flops: n * float64(p.Accumulate), Bytes: n * float64(8+4*p.Accumulate)}
}

func patchifyCases() []Case {
	call := func(patches Count, height, width, side, channels int, accumulate uint32) Case {
		n := int(patches.Max) * channels * side * side
		return Case{
			Params: PatchifyParams{patches, uint32(height), uint32(width), uint32(side), uint32(channels), accumulate},
			Inputs: []Input{{N: n, Scale: 1}, output(n, accumulate)},
			Rtol:   1e-6, // one rounding, when adding
		}.named("%d patches of %d in %dx%d, %d channels", patches.Max, side, height, width, channels)
	}
	return writingAndAdding(func(accumulate uint32) []Case {
		return append(overCounts(8, func(n Count) Case { return call(n, 8, 16, 4, 3, accumulate) }),
			call(N(1), 1, 1, 1, 1, accumulate), call(N(20), 6, 15, 3, 3, accumulate), call(N(24), 3, 4, 1, 2, accumulate), call(N(32), 32, 32, 8, 3, accumulate),
			call(N(3), 21, 7, 7, 4, accumulate), call(N(65536), 256, 256, 1, 1, accumulate))
	})
}
