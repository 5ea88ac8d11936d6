package shaders

// PatchifyPixelsParams are the parameters of PatchifyPixels.
type PatchifyPixelsParams struct {
	Rows     Count  // patches: images × (Size/Side)²
	Size     uint32 // side of the square images
	Side     uint32 // side of a patch, P
	Channels uint32 // C
}

// PatchifyPixels divides 8-bit images [N,Size,Size,C] (four bytes to a word, channels
// interleaved) into patches y [N·(Size/P)², C·P·P], features by channel, then row, then
// column. table [256] gives the value of a byte.
var PatchifyPixels = Declare(Decl[PatchifyPixelsParams]{
	Name: "patchify_pixels",
	Bindings: []Binding{
		{Name: "pixels", Type: U32, Access: Read},
		{Name: "table", Access: Read},
		{Name: "y", Access: Write},
	},
	Include: []string{"position"},
	Variants: One(func(p PatchifyPixelsParams) [3]uint32 {
		return gridRows(int(p.Rows.Max), int(p.Channels*p.Side*p.Side))
	}),
	CPU: func(h Host, p PatchifyPixelsParams, b Buffers) {
		pixels, table, y := b[0], b.F32(1), b.F32(2)
		size, side, channels := int(p.Size), int(p.Side), int(p.Channels)
		grid, features := size/side, channels*side*side
		h.Parallel(p.Rows.At(h.Step()), rowGrain(features), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				image, at := r/(grid*grid), r%(grid*grid)
				y := y[r*features:][:features]
				for row := range side {
					line := ((image*size+at/grid*side+row)*size + at%grid*side) * channels
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
	Reference: func(p PatchifyPixelsParams, b []Array) {
		size, side, channels := int(p.Size), int(p.Side), int(p.Channels)
		grid := size / side
		for i := range int(p.Rows.Max) * channels * side * side {
			patch, c, row, col := i/(channels*side*side), i/(side*side)%channels, i/side%side, i%side
			image, down, across := patch/(grid*grid), patch/grid%grid, patch%grid
			at := ((image*size+down*side+row)*size+across*side+col)*channels + c
			b[2].F[i] = b[1].F[b[0].I[at/4]>>(at%4*8)&0xff]
		}
	},
	Cost: func(p PatchifyPixelsParams) Cost {
		return Cost{Bytes: 5 * float64(p.Rows.Max) * float64(p.Channels*p.Side*p.Side)}
	},
	Cases: func() []Case {
		call := func(patches Count, size, side, channels int) Case {
			grid := size / side
			images := (int(patches.Max) + grid*grid - 1) / (grid * grid)
			words := integers((images*size*size*channels+3)/4, 0, 1<<31-1)
			pixels := Input{U: make([]uint32, len(words.I))}
			for i, w := range words.I {
				pixels.U[i] = uint32(w) * 3 // all byte values
			}
			return Case{
				Params: PatchifyPixelsParams{Rows: patches, Size: uint32(size), Side: uint32(side), Channels: uint32(channels)},
				Inputs: []Input{pixels, {N: 256, Scale: 1}, {N: int(patches.Max) * channels * side * side}},
			}.named("%d patches of %d in %d, %d channels", patches.Max, side, size, channels)
		}
		return append(overCounts(32, func(n Count) Case { return call(n, 32, 8, 3) }),
			call(N(1), 1, 1, 1), call(N(18), 9, 3, 3), call(N(4), 64, 32, 3), call(N(5), 5, 5, 4), call(N(65536), 256, 1, 1))
	},
})
