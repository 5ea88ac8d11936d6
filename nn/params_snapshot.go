package nn

import (
	"unsafe"

	"patchwork/engine"
	"patchwork/shaders/eightbit"
)

// Snapshot is a copy of some of a set's buffers in host memory. It is mapped outside Go's
// heap where that is possible: on the heap, as much garbage could accumulate before the
// next collection.
type Snapshot struct {
	params *Params
	values map[*engine.Buffer][]float32
	mapped [][]byte
}

// CopyTo reads whole buffers of the set into a snapshot, whose memory is reused. It
// returns an engine.ErrOutOfMemory where the host has too little memory for a first one.
// Moments in 8 bits need their scales.
func (s *Params) CopyTo(dev engine.Device, c *Snapshot, from ...*engine.Buffer) error {
	c.params = s
	for _, b := range from {
		if err := c.Reserve(b, b.Bytes); err != nil {
			return err
		}
		if err := engine.Download(dev, b.View(), c.values[b]); err != nil {
			return err
		}
	}
	return nil
}

// Values returns a parameter's values in a buffer that was copied.
func (c *Snapshot) Values(from *engine.Buffer, p *Param) []float32 {
	if c.params != nil {
		if scales := c.params.momentScales(from); scales != nil {
			blocks := alignUp(p.Count(), eightbit.Block) / eightbit.Block
			codes := wordBytes(c.values[from][p.offset/16:])[:blocks*eightbit.Block]
			return c.params.decodeMoments(from, p, codes, c.values[scales][p.offset/4/eightbit.Block:][:blocks])
		}
	}
	return c.values[from][p.offset/4:][:size(p.Shape)]
}

// wordBytes is the memory of words.
func wordBytes(words []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
}

// All returns the memory of a buffer.
func (c *Snapshot) All(b *engine.Buffer) []float32 { return c.values[b] }

// Reserve makes room for a buffer's values, or for the given number of bytes where the buffer is a
// part of a larger one. Its error is that of CopyTo.
func (c *Snapshot) Reserve(b *engine.Buffer, bytes int64) error {
	if _, ok := c.values[b]; ok {
		return nil
	}
	if c.values == nil {
		c.values = map[*engine.Buffer][]float32{}
	}
	if !engine.CanMap || bytes == 0 {
		c.values[b] = make([]float32, bytes/4)
		return nil
	}
	mapped, err := engine.MapMemory(bytes)
	if err != nil {
		return &engine.OutOfMemoryError{Device: "the host", What: "a copy of the " + b.Label, Asked: bytes, Available: engine.FreeHostMemory()}
	}
	c.mapped = append(c.mapped, mapped)
	c.values[b] = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(mapped))), bytes/4)
	return nil
}

// Free releases the memory. The snapshot can be used again.
func (c *Snapshot) Free() {
	for _, m := range c.mapped {
		engine.UnmapMemory(m)
	}
	c.values, c.mapped = nil, nil
}
