package vlm

import (
	"context"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// ImageEmbedder is the compiled embedder and connector: it turns pixels into the vectors of
// an image's tokens.
type ImageEmbedder struct {
	exe      engine.Executable
	Plan     *engine.Plan
	memories []engine.Memory
	pixels   *engine.Buffer // [batch, S, S, C]
	table    *engine.Buffer // the 256 values of a pixel
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
	e := &ImageEmbedder{}
	size, slots := v.ImageSize*v.ImageSize*v.NumChannels, v.Patches()
	e.pixels = engine.NewBuffer("pixels", int64((batch*size+3)/4*4))
	e.table = engine.NewBuffer("pixel values", 4*256)
	program, err := nn.Record("image embedder", nn.Options{Params: m.Params, Type: m.Storage()}, func(g *nn.Graph) {
		x := g.PatchifyPixels(nn.Input(e.pixels, int(e.pixels.Bytes/4)), nn.Input(e.table, 256), batch, v.ImageSize, v.PatchSize, v.NumChannels, 0)
		x = m.embedder.forward(g, x, nil)
		p := shaders.AppendRowsParams{Rows: shaders.N(batch * slots), Cols: uint32(v.HiddenSize), Slot: SlotVectors}
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
	if e.memories, err = engine.Allocate(dev, "images", e.pixels, e.table); err != nil {
		return nil, err
	}
	if err = engine.Upload(dev, e.table.View(), pixelValues()); err == nil {
		e.exe, err = dev.Compile(e.Plan, nil)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Encode computes the vectors of a batch of images and stores them from row first on.
func (e *ImageEmbedder) Encode(ctx context.Context, dev engine.Device, pixels []byte, first int) error {
	memory, offset := e.pixels.Placed()
	if err := dev.Write(memory, offset, pixels); err != nil {
		return err
	}
	e.Step[SlotVectors] = uint32(first)
	return e.exe.Run(ctx, &e.Step)
}

// Bytes returns the device memory of the embedder without its weights and the vectors.
func (e *ImageEmbedder) Bytes() int64 {
	return e.table.Bytes + e.pixels.Bytes + e.Plan.Arena.Total()
}
