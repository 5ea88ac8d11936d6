package vlm

import (
	"context"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// ImageEmbedder is the compiled embedder and connector: pixels become the vectors that
// stand for a picture's tokens.
type ImageEmbedder struct {
	exe      engine.Executable
	Plan     *engine.Plan
	memories []engine.Memory
	batch    int            // pictures of a run
	Capacity int            // pictures that there is room for
	pixels   *engine.Buffer // [batch, S, S, C]
	vectors  *engine.Buffer // [capacity·L, D]
	table    *engine.Buffer // the pixels' 256 values
	Step     [shaders.StepWords]uint32
}

func (e *ImageEmbedder) Close() {
	if e == nil {
		return
	}
	if e.exe != nil {
		e.exe.Free()
	}
	engine.Free(e.memories)
}

// PlanImageEmbedder records the embedder for so many pictures at a time, with room for the
// vectors of capacity pictures.
func PlanImageEmbedder(m *Model, batch, capacity int) (*ImageEmbedder, error) {
	v := m.Config.Vision
	e := &ImageEmbedder{batch: batch, Capacity: capacity}
	size, slots := v.ImageSize*v.ImageSize*v.NumChannels, v.Patches()
	e.pixels = engine.NewBuffer("pixels", int64((batch*size+3)/4*4))
	e.vectors = engine.NewBuffer("picture vectors", engine.BufferSize(m.Storage(), capacity*slots*v.HiddenSize))
	e.vectors.Type = m.Storage()
	e.table = engine.NewBuffer("pixel values", 4*256)
	program, err := nn.Record("look", nn.Options{Params: m.Params, Type: m.Storage()}, func(g *nn.Graph) {
		x := g.PatchifyPixels(nn.Input(e.pixels, int(e.pixels.Bytes/4)), nn.Input(e.table, 256), batch, v.ImageSize, v.PatchSize, v.NumChannels, 0)
		x = m.embedder.forward(g, x, nil)
		p := shaders.AppendRowsParams{Rows: shaders.N(batch * slots), Cols: uint32(v.HiddenSize), Slot: SlotVectors}
		g.Program.Dispatch(shaders.AppendRows, p, x.View(), e.vectors.View())
	})
	if err != nil {
		return nil, err
	}
	e.Plan, err = m.Plan(program)
	return e, err
}

// NewImageEmbedder compiles what PlanImageEmbedder records.
func NewImageEmbedder(m *Model, dev engine.Device, batch, capacity int) (*ImageEmbedder, error) {
	e, err := PlanImageEmbedder(m, batch, capacity)
	if err != nil {
		return nil, err
	}
	if e.memories, err = engine.Allocate(dev, "pictures", e.pixels, e.vectors, e.table); err != nil {
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

// Features are the vectors as a tensor of a recording.
func (e *ImageEmbedder) Features(c Config) *nn.Tensor {
	return nn.Input(e.vectors, e.Capacity*c.Vision.Patches(), c.Vision.HiddenSize)
}

// Encode computes the vectors of as many pictures as a run takes, for the slots of
// picture number first on.
func (e *ImageEmbedder) Encode(ctx context.Context, dev engine.Device, pixels []byte, first, patches int) error {
	memory, offset := e.pixels.Placed()
	if err := dev.Write(memory, offset, pixels); err != nil {
		return err
	}
	e.Step[SlotVectors] = uint32(first * patches)
	return e.exe.Run(ctx, &e.Step)
}

// Bytes is the memory that the embedder takes beside its weights.
func (e *ImageEmbedder) Bytes() int64 {
	return e.table.Bytes + e.pixels.Bytes + e.vectors.Bytes + e.Plan.Arena.Total()
}
