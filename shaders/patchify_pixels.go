package shaders

// PatchifyPixelsParams are the parameters of PatchifyPixels.
type PatchifyPixelsParams struct {
	Rows     Count  // patches: pictures × (Size/Patch)²
	Size     uint32 // side of the square pictures
	Patch    uint32 // side of a patch, P
	Channels uint32 // C
}

// PatchifyPixels cuts 8-bit pictures [N,Size,Size,C] (four bytes to a word,
// channels interleaved) into patches y [N·(Size/P)², C·P·P], features by
// channel, then row, then column. table [256] gives the value of a byte.
var PatchifyPixels = Declare(Decl[PatchifyPixelsParams]{
	Name: "patchify_pixels",
	Bindings: []Binding{
		{Name: "pixels", Type: U32, Access: Read},
		{Name: "table", Access: Read},
		{Name: "y", Access: Write},
	},
	CPU: func(h Host, p PatchifyPixelsParams, b Buffers) {
		pixels, table, y := b[0], b.F32(1), b.F32(2)
		size, side, channels := int(p.Size), int(p.Patch), int(p.Channels)
		grid, features := size/side, channels*side*side
		h.Parallel(p.Rows.At(h.Step()), rowGrain(features), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				picture, at := r/(grid*grid), r%(grid*grid)
				y := y[r*features:][:features]
				for row := range side {
					line := ((picture*size+at/grid*side+row)*size + at%grid*side) * channels
					for c := range channels {
						out := y[(c*side+row)*side:][:side]
						for i := range out {
							out[i] = table[pixels[line+i*channels+c]]
						}
					}
				}
			}
		})
	},
})
