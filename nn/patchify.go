package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// Patchify splits images x [N,C,H,W] into patches [N, (H/P)·(W/P), C·P·P].
func (g *Graph) Patchify(x *Tensor, patch int) *Tensor {
	check(len(x.Shape) == 4 && x.Shape[2]%patch == 0 && x.Shape[3]%patch == 0, "patchify", "[N,C,H,W] of whole patches", x)
	n, c, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	patches := h / patch * (w / patch)
	p := shaders.PatchifyParams{Rows: shaders.N(n * patches), Height: uint32(h), Width: uint32(w), Side: uint32(patch), Channels: uint32(c)}
	y := g.NewFloat32("patches", n, patches, c*patch*patch)
	g.record(shaders.Patchify, p, x.View(), y.View())
	g.onBackward(y, func(dy engine.View) {
		if dx, add, ok := g.gradient(x); ok {
			p.Accumulate = shaders.Flag(add)
			g.record(shaders.PatchifyBackward, p, dy, dx)
		}
	})
	return y
}

// PatchifyPixels splits 8-bit images [N,S,S,C], four bytes to an element of pixels, into
// patches [N·(S/P)², C·P·P] of the values that table [256] maps bytes to. The step block's
// entry slot is the number of patches; 0 = all.
func (g *Graph) PatchifyPixels(pixels, table *Tensor, images, size, patch, channels, slot int) *Tensor {
	check(size%patch == 0 && pixels.Size()*4 >= images*size*size*channels && table.Size() == 256,
		"patchify", "pixels for every image and a table of 256", pixels, table)
	grid := size / patch
	y := g.NewFloat32("patches", images*grid*grid, channels*patch*patch)
	y.node.needsGrad = false
	if slot != 0 {
		y.RowCount(slot)
	}
	g.record(shaders.PatchifyPixels, shaders.PatchifyPixelsParams{Rows: y.rows(), Size: uint32(size), Side: uint32(patch), Channels: uint32(channels)},
		pixels.View(), table.View(), y.View())
	return y
}
