package vlm

import (
	"cmp"
	"context"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/chat"
)

// ImageEmbedder is the compiled embedder and connector: it turns pixels into the vectors of
// an image's tokens.
type ImageEmbedder struct {
	exe      engine.Executable
	Plan     *engine.Plan
	memories []engine.Memory
	vision   VisionConfig
	pixels   *engine.Buffer // [batch, S, S, C], or of patches
	table    *engine.Buffer // the 256 values of a pixel
	grid     patchGrid
	Step     [shaders.StepWords]uint32
}

// Close releases the program and the buffers.
func (e *ImageEmbedder) Close() {
	if e == nil {
		return
	}
	if e.exe != nil {
		e.exe.Free()
	}
	engine.Free(e.memories)
}

// PlanImageEmbedder records the embedder for batch images at a time, whose vectors it writes.
func PlanImageEmbedder(m *Model, batch int, to *Vectors) (*ImageEmbedder, error) {
	v := m.Config.Vision
	slots, slot, quarters := batch*v.Patches(), 0, 0
	if v.KeepsAspect() {
		slot, quarters = SlotPatches, SlotQuarters
	}
	e := &ImageEmbedder{vision: v, grid: newPatchGrid(v, slots)}
	e.pixels = engine.NewBuffer("pixels", int64((batch*v.PixelBytes()+3)/4*4))
	e.table = engine.NewBuffer("pixel values", 4*256)
	program, err := nn.Record("image embedder", nn.Options{Params: m.Params, Type: m.Storage()}, func(g *nn.Graph) {
		x := v.patchify(g, nn.Input(e.pixels, int(e.pixels.Bytes/4)), nn.Input(e.table, 256), slots, slot)
		x = m.embedder.forward(g, x, e.grid.tensors(v, quarters), nil)
		p := shaders.AppendRowsParams{Rows: shaders.Count{Max: uint32(slots), Slot: uint32(slot)}, Cols: uint32(v.HiddenSize), Slot: SlotVectors}
		g.Program.Dispatch(shaders.AppendRows, p, x.View(), to.buffer.View())
	})
	if err != nil {
		return nil, err
	}
	e.Plan, err = m.Plan(program)
	return e, err
}

// NewImageEmbedder compiles what PlanImageEmbedder records.
func NewImageEmbedder(m *Model, dev engine.Device, batch int, to *Vectors) (*ImageEmbedder, error) {
	e, err := PlanImageEmbedder(m, batch, to)
	if err != nil {
		return nil, err
	}
	if e.memories, err = engine.Allocate(dev, "images", e.buffers()...); err != nil {
		return nil, err
	}
	intervals := e.grid.imageIntervals(e.vision, batch*e.vision.Patches())
	if err = cmp.Or(engine.Upload(dev, e.table.View(), e.vision.pixelValues()), engine.Upload(dev, e.grid.intervals.View().Slice(0, 4*int64(len(intervals))), intervals)); err == nil {
		e.exe, err = dev.Compile(e.Plan, nil)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Encode computes the vectors of a batch of images and stores them from row first on. grids are where
// the patches of images are that keep their aspect ratio.
func (e *ImageEmbedder) Encode(ctx context.Context, dev engine.Device, pixels []byte, grids []chat.Grid, first int) error {
	if err := e.uploadGrid(dev, pixels, grids); err != nil {
		return err
	}
	memory, offset := e.pixels.Placed()
	if err := dev.Write(memory, offset, pixels); err != nil {
		return err
	}
	e.Step[SlotVectors] = uint32(first)
	return e.exe.Run(ctx, &e.Step)
}

// uploadGrid writes where the patches are, and their number into the step block.
func (e *ImageEmbedder) uploadGrid(dev engine.Device, pixels []byte, grids []chat.Grid) error {
	if !e.vision.KeepsAspect() {
		return nil
	}
	var at []int32
	for _, g := range grids {
		at = g.AppendPlaces(at)
	}
	patches := len(at) / 2
	if want := patches * e.vision.Features(); len(pixels) != want || int64(len(at)) > e.grid.at.Bytes/4 {
		return fmt.Errorf("an image of %d bytes, want %d for %d patches, and at most %d patches", len(pixels), want, patches, e.grid.at.Bytes/8)
	}
	if err := e.vision.checkPlaces(at); err != nil {
		return err
	}
	e.Step[SlotPatches], e.Step[SlotQuarters] = uint32(patches), uint32(4*patches)
	return engine.Upload(dev, e.grid.at.View().Slice(0, 4*int64(len(at))), at)
}

// Bytes returns the device memory of the embedder without its weights and the vectors.
func (e *ImageEmbedder) Bytes() int64 {
	total := e.Plan.Arena.Total()
	for _, b := range e.buffers() {
		total += b.Bytes
	}
	return total
}

func (e *ImageEmbedder) buffers() []*engine.Buffer {
	return append(e.grid.buffers(), e.pixels, e.table)
}
