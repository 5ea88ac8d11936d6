package nn

import (
	"unsafe"

	"patchwork/engine"
)

// Copy is what some of a set's buffers held at one moment, in the host's memory.
// It lies outside Go's heap where that is possible: there the collector would let
// as much garbage gather.
type Copy struct {
	values map[*engine.Buffer][]float32
	mapped [][]byte
}

// CopyTo reads whole buffers of the set; memory of an earlier copy is used again. An
// engine.ErrOutOfMemory says that the host has none for a first one.
func (s *Params) CopyTo(dev engine.Device, c *Copy, from ...*engine.Buffer) error {
	for _, b := range from {
		if err := c.reserve(b); err != nil {
			return err
		}
		if err := engine.Download(dev, b.View(), c.values[b]); err != nil {
			return err
		}
	}
	return nil
}

// Values is a parameter's part of a buffer that was copied.
func (c *Copy) Values(from *engine.Buffer, p *Param) []float32 {
	return c.values[from][p.offset/4:][:size(p.Shape)]
}

func (c *Copy) reserve(b *engine.Buffer) error {
	if _, ok := c.values[b]; ok {
		return nil
	}
	if c.values == nil {
		c.values = map[*engine.Buffer][]float32{}
	}
	if !engine.CanMap || b.Bytes == 0 {
		c.values[b] = make([]float32, b.Bytes/4)
		return nil
	}
	mapped, err := engine.MapMemory(b.Bytes)
	if err != nil {
		return &engine.OutOfMemoryError{Device: "the host", What: "a copy of the " + b.Label, Asked: b.Bytes, Available: engine.FreeHostMemory()}
	}
	c.mapped = append(c.mapped, mapped)
	c.values[b] = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mapped))), b.Bytes/4)
	return nil
}

// Free gives the memory back; the copy can be used anew.
func (c *Copy) Free() {
	for _, m := range c.mapped {
		engine.UnmapMemory(m)
	}
	c.values, c.mapped = nil, nil
}
