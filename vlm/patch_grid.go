package vlm

import (
	"fmt"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/packing"
)

// patchGrid are the buffers of where patches are: of images that keep their aspect ratio, in which row
// and column; for an encoder, in which image. Others need none.
type patchGrid struct{ at, order, starts, intervals *engine.Buffer }

// patchPlaces are the inputs of an embedder besides patches.
type patchPlaces struct {
	grid      *nn.PatchGrid // nil: images are squares
	intervals *nn.Tensor    // [N, 4], the patches of each patch's image; of an encoder
	quarters  int           // step block entry with the number of quarters of patches; 0 = all
}

// newPatchGrid describes the buffers for a number of patches.
func newPatchGrid(v VisionConfig, patches int) patchGrid {
	side, encoded := v.MaxGrid, 0
	if v.Embedder == EmbedderEncoder {
		encoded = patches
	}
	if !v.KeepsAspect() {
		patches, side = 0, 0
	}
	words := func(label string, n int) *engine.Buffer { return engine.NewBuffer(label, 4*int64(max(1, n))) }
	return patchGrid{words("patch grid", 2*patches), words("patch order", 2*patches), words("patch starts", 2*side+1), words("patches of images", 4*encoded)}
}

// tensors are the inputs of the embedder. The step block's entry quarters is the number of quarters of
// patches; 0 = all.
func (p patchGrid) tensors(v VisionConfig, quarters int) patchPlaces {
	tensor := func(b *engine.Buffer) *nn.Tensor { return nn.Input(b, int(b.Bytes/4)) }
	places := patchPlaces{intervals: tensor(p.intervals), quarters: quarters}
	if v.KeepsAspect() {
		places.grid = &nn.PatchGrid{At: tensor(p.at), Order: tensor(p.order), Starts: tensor(p.starts)}
	}
	return places
}

func (p patchGrid) buffers() []*engine.Buffer {
	return []*engine.Buffer{p.at, p.order, p.starts, p.intervals}
}

// imageIntervals are which patches are in the image of each of a number of patches: all others
// attend to none.
func (p patchGrid) imageIntervals(v VisionConfig, patches int) []int32 {
	if v.Embedder != EmbedderEncoder {
		return nil
	}
	out := make([]int32, p.intervals.Bytes/4)
	copy(out, slices.Repeat([]int32{0, 0, 0, int32(v.Patches())}, patches))
	return out
}

// checkPlaces returns an error if a row or a column of a patch is outside the model's positions.
func (v VisionConfig) checkPlaces(at []int32) error {
	for _, g := range at {
		if g < 0 || int(g) >= v.MaxGrid {
			return fmt.Errorf("a patch at row or column %d; the model has %d", g, v.MaxGrid)
		}
	}
	return nil
}

// words are the contents for a batch with a number of patches.
func (p patchGrid) words(v VisionConfig, b *packing.Batch, patches int) ([]words, error) {
	if !v.KeepsAspect() {
		return []words{{p.intervals, p.imageIntervals(v, patches)}}, nil
	}
	if len(b.PatchGrid) != 2*patches {
		return nil, fmt.Errorf("the places of %d patches are given for %d", len(b.PatchGrid)/2, patches)
	}
	if err := v.checkPlaces(b.PatchGrid); err != nil {
		return nil, err
	}
	order, starts := b.PatchOrder(v.MaxGrid)
	return []words{{p.at, b.PatchGrid}, {p.order, order}, {p.starts, starts}}, nil
}

// patchify splits pixels into patches: [slots, C·P²]. The step block's entry slot is their number;
// 0 = all. Images that keep their aspect ratio come as patches, so that each is a square of one.
func (v VisionConfig) patchify(g *nn.Graph, pixels, table *nn.Tensor, slots, slot int) *nn.Tensor {
	size, images := v.ImageSize, 0
	if v.Gemma() { // whose patches' values are in the order of their bytes
		return g.PatchifyPixels(pixels, table, slots, 1, 1, v.Features(), slot)
	}
	if v.KeepsAspect() {
		size, images = v.PatchSize, slots
	} else {
		images = slots / v.Patches()
	}
	return g.PatchifyPixels(pixels, table, images, size, v.PatchSize, v.NumChannels, slot)
}
