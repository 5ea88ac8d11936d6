package vlm

import (
	"context"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// SoundEmbedder is the compiled audio embedder of a generation.
type SoundEmbedder struct {
	Plan     *engine.Plan
	exe      engine.Executable
	memories []engine.Memory
	frames   *engine.Buffer // [soundBatch, samples]
	size     int            // samples of a frame
	step     [shaders.StepWords]uint32
}

// soundBatch is the number of frames that run at once.
const soundBatch = 64

// PlanSoundEmbedder records the embedder, whose vectors it writes.
func PlanSoundEmbedder(m *Model, to *Vectors) (*SoundEmbedder, error) {
	a := m.Config.Audio
	e := &SoundEmbedder{size: a.FrameSize, frames: engine.NewBuffer("frames of sound", int64(4*soundBatch*a.FrameSize))}
	program, err := nn.Record("sound embedder", nn.Options{Params: m.Params, Type: m.Storage()}, func(g *nn.Graph) {
		x := m.audio.forward(g, nn.Input(e.frames, soundBatch, a.FrameSize).RowCount(SlotFrames), nil)
		p := shaders.AppendRowsParams{Rows: shaders.Count{Max: soundBatch, Slot: SlotFrames}, Cols: uint32(a.HiddenSize), Slot: SlotVectors}
		g.Program.Dispatch(shaders.AppendRows, p, x.View(), to.buffer.View())
	})
	if err == nil {
		e.Plan, err = m.Plan(program)
	}
	return e, err
}

// NewSoundEmbedder compiles what PlanSoundEmbedder records.
func NewSoundEmbedder(m *Model, dev engine.Device, to *Vectors) (*SoundEmbedder, error) {
	e, err := PlanSoundEmbedder(m, to)
	if err != nil {
		return nil, err
	}
	if e.memories, err = engine.Allocate(dev, "sound", e.frames); err == nil {
		e.exe, err = dev.Compile(e.Plan, nil)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Encode computes the vectors of frames and stores them from row first on.
func (e *SoundEmbedder) Encode(ctx context.Context, dev engine.Device, frames []float32, first int) error {
	for len(frames) > 0 {
		n := min(soundBatch, len(frames)/e.size)
		if err := engine.Upload(dev, e.frames.View().Slice(0, int64(4*n*e.size)), frames[:n*e.size]); err != nil {
			return err
		}
		e.step[SlotFrames], e.step[SlotVectors] = uint32(n), uint32(first)
		if err := e.exe.Run(ctx, &e.step); err != nil {
			return err
		}
		frames, first = frames[n*e.size:], first+n
	}
	return nil
}

// Bytes returns the device memory of the embedder without its weights and the vectors.
func (e *SoundEmbedder) Bytes() int64 { return e.frames.Bytes + e.Plan.Arena.Total() }

// Close releases the program and the buffers.
func (e *SoundEmbedder) Close() {
	if e == nil {
		return
	}
	if e.exe != nil {
		e.exe.Free()
	}
	engine.Free(e.memories)
}
