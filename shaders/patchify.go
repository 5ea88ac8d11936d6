package shaders

// PatchifyParams are the parameters of Patchify and PatchifyBackward.
type PatchifyParams struct {
	Rows       Count  // patches: pictures × (Height/Patch)·(Width/Patch)
	Height     uint32 // of the pictures
	Width      uint32
	Patch      uint32 // side of a patch, P
	Channels   uint32 // C
	Accumulate uint32
}

// Patchify cuts pictures x [N,C,Height,Width] into patches y [N·L, C·P·P],
// L = (Height/P)·(Width/P), patches row by row, features by channel, then row,
// then column.
var Patchify = Declare(Decl[PatchifyParams]{
	Name: "patchify",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	CPU: func(h Host, p PatchifyParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		patchLines(h, p, func(pixel, feature, n int) {
			moveRow(y[feature:][:n], x[pixel:], p.Accumulate != 0)
		})
	},
})

// PatchifyBackward puts the gradient of the patches back in its place in the
// pictures: dx from dy, laid out as x and y of Patchify.
var PatchifyBackward = Declare(Decl[PatchifyParams]{
	Name: "patchify_backward",
	Bindings: []Binding{
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	CPU: func(h Host, p PatchifyParams, b Buffers) {
		dy, dx := b.F32(0), b.F32(1)
		patchLines(h, p, func(pixel, feature, n int) {
			moveRow(dx[pixel:][:n], dy[feature:], p.Accumulate != 0)
		})
	},
})

// patchLines calls f for every line of every patch with where it lies in the
// pictures and in the patches, and its length.
func patchLines(h Host, p PatchifyParams, f func(pixel, feature, n int)) {
	height, width, side, channels := int(p.Height), int(p.Width), int(p.Patch), int(p.Channels)
	across := width / side
	patches := height / side * across
	h.Parallel(p.Rows.At(h.Step()), rowGrain(channels*side*side), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			picture, at := r/patches, r%patches
			for i := range channels * side {
				c, row := i/side, i%side
				f(((picture*channels+c)*height+at/across*side+row)*width+at%across*side, (r*channels*side+i)*side, side)
			}
		}
	})
}
