package vlm

import (
	"context"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// eyes is the compiled embedder and connector: pixels become the vectors that
// stand for a picture's tokens.
type eyes struct {
	exe      engine.Executable
	plan     *engine.Plan
	memories []engine.Memory
	batch    int            // pictures of a run
	capacity int            // pictures that there is room for
	pixels   *engine.Buffer // [batch, S, S, C]
	vectors  *engine.Buffer // [capacity·L, D]
	step     [shaders.StepWords]uint32
}

func (e *eyes) free() {
	if e == nil {
		return
	}
	if e.exe != nil {
		e.exe.Free()
	}
	engine.Free(e.memories)
}

// planEyes records the embedder for so many pictures at a time, with room for the
// vectors of capacity pictures, and returns the table of the pixels' values too.
func planEyes(m *Model, batch, capacity int) (*eyes, *engine.Buffer, error) {
	v := m.Config.Vision
	e := &eyes{batch: batch, capacity: capacity}
	size, slots := v.ImageSize*v.ImageSize*v.NumChannels, v.Patches()
	e.pixels = engine.NewBuffer("pixels", int64(roundUp(batch*size, 4)))
	e.vectors = engine.NewBuffer("picture vectors", engine.BufferSize(m.storage(), capacity*slots*v.HiddenSize))
	e.vectors.Type = m.storage()
	table := engine.NewBuffer("pixel values", 4*256)
	program, err := nn.Record("look", nn.Options{Params: m.Params, Type: m.storage()}, func(g *nn.Graph) {
		x := g.PatchifyPixels(nn.Input(e.pixels, int(e.pixels.Bytes/4)), nn.Input(table, 256), batch, v.ImageSize, v.PatchSize, v.NumChannels, 0)
		x = m.embedder.forward(g, x, nil)
		p := shaders.AppendRowsParams{Rows: shaders.N(batch * slots), Cols: uint32(v.HiddenSize), Slot: slotVectors}
		g.Program.Dispatch(shaders.AppendRows, p, x.View(), e.vectors.View())
	})
	if err != nil {
		return nil, nil, err
	}
	e.plan, err = engine.NewPlan(program, m.most)
	return e, table, err
}

// newEyes compiles what planEyes records.
func newEyes(m *Model, dev engine.Device, batch, capacity int) (*eyes, error) {
	e, table, err := planEyes(m, batch, capacity)
	if err != nil {
		return nil, err
	}
	if e.memories, err = engine.Allocate(dev, "pictures", e.pixels, e.vectors, table); err != nil {
		return nil, err
	}
	if err = engine.Upload(dev, table.View(), pixelValues()); err == nil {
		e.exe, err = dev.Compile(e.plan, nil)
	}
	if err != nil {
		e.free()
		return nil, err
	}
	return e, nil
}

// features are the vectors as a tensor of a recording.
func (e *eyes) features(c Config) *nn.Tensor {
	return nn.Input(e.vectors, e.capacity*c.Vision.Patches(), c.Vision.HiddenSize)
}

// see computes the vectors of as many pictures as a run takes, for the slots of
// picture number first on.
func (e *eyes) see(ctx context.Context, dev engine.Device, pixels []byte, first, patches int) error {
	memory, offset := e.pixels.Placed()
	if err := dev.Write(memory, offset, pixels); err != nil {
		return err
	}
	e.step[slotVectors] = uint32(first * patches)
	return e.exe.Run(ctx, &e.step)
}

// look computes the vectors of pictures. The passes are bound to the room for
// them, and are compiled anew when that has to grow.
func (g *Generator) look(ctx context.Context, pictures [][]byte) error {
	if len(pictures) == 0 {
		return nil
	}
	if g.eyes == nil || g.eyes.capacity < len(pictures) {
		made, err := newEyes(g.Model, g.Device, 1, len(pictures))
		if err != nil {
			return err
		}
		g.eyes.free()
		g.freePasses()
		g.eyes = made
	}
	for i, pixels := range pictures {
		if err := g.eyes.see(ctx, g.Device, pixels, i, g.Config.Vision.Patches()); err != nil {
			return err
		}
	}
	return nil
}
