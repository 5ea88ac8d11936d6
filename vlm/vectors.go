package vlm

import (
	"patchwork/engine"
	"patchwork/nn"
)

// Vectors are the vectors of images and sound that the tokens of a generation read: rows of the
// hidden size.
type Vectors struct {
	Capacity int // rows
	buffer   *engine.Buffer
	cols     int
	memories []engine.Memory
}

// PlanVectors describes vectors of a model's size; Allocate allocates them.
func PlanVectors(m *Model, rows int) *Vectors {
	v := &Vectors{Capacity: rows, cols: m.Config.Text.HiddenSize}
	v.buffer = engine.NewBuffer("image vectors", engine.BufferSize(m.Storage(), rows*v.cols))
	v.buffer.Type = m.Storage()
	return v
}

// Allocate allocates the vectors on a device.
func (v *Vectors) Allocate(dev engine.Device) (err error) {
	v.memories, err = engine.Allocate(dev, "images", v.buffer)
	return err
}

// Bytes is their memory.
func (v *Vectors) Bytes() int64 { return v.buffer.Bytes }

// Features returns the vectors as a tensor of a recording: [capacity, D].
func (v *Vectors) Features() *nn.Tensor { return nn.Input(v.buffer, v.Capacity, v.cols) }

// Close releases them.
func (v *Vectors) Close() {
	if v != nil {
		engine.Free(v.memories)
	}
}
