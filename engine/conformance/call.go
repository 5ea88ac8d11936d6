package conformance

import (
	"bytes"
	"context"
	"math"
	"slices"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// Call is a program of one dispatch over its own buffers. Every binding starts at the
// smallest legal offset above 0, with a guard before and after it. The one after it is
// part of the binding, as is one after the scratch: a device that clamps accesses to the
// binding would hide those past the end.
type Call struct {
	dev      engine.Device
	buffers  []*engine.Buffer // nil where a binding is absent
	lengths  []int            // elements
	memories []engine.Memory
	program  engine.Executable
	scratch  int64 // bytes
}

// NewCall allocates the buffers of a case and compiles it. contents are those of
// kernelcheck.Fill. The dispatch is divided to bind at most limit bytes of a buffer; 0 =
// no limit.
func NewCall(dev engine.Device, k *shaders.Kernel, c shaders.Case, contents [][]uint32, limit int64) (_ *Call, err error) {
	x := &Call{dev: dev, buffers: make([]*engine.Buffer, len(contents))}
	defer func() {
		if err != nil {
			x.Free()
		}
	}()
	views := make([]engine.View, len(contents))
	var present []*engine.Buffer
	for i, w := range contents {
		if c.Inputs[i].Absent {
			x.lengths = append(x.lengths, 0)
			continue
		}
		t := c.Storage.Of(i, k.Bindings[i])
		bytes := engine.BufferSize(t, len(w))
		b := kernelcheck.NewBuffer(k.Bindings[i], t, bytes+2*engine.Alignment)
		x.buffers[i], views[i] = b, b.View().Slice(engine.Alignment, bytes+engine.Alignment)
		x.lengths = append(x.lengths, len(w))
		present = append(present, b)
	}
	if x.memories, err = engine.Allocate(dev, "a case", present...); err != nil {
		return nil, err
	}
	if err = x.Reset(contents); err != nil {
		return nil, err
	}
	x.scratch = k.Scratch(c.Params)
	x.program, err = kernelcheck.Compile(dev, k.WithScratchPadding(engine.Alignment), c.Params, views, limit)
	return x, err
}

// Reset writes the contents and the guards.
func (x *Call) Reset(contents [][]uint32) error {
	for i, b := range x.buffers {
		if b == nil {
			continue
		}
		if err := engine.Upload(x.dev, b.View(), slices.Concat(guard(i), kernelcheck.Pack(b.Type, contents[i]), guard(i))); err != nil {
			return err
		}
	}
	return nil
}

// garbage fills the scratch, whose contents are undefined before a call.
func (x *Call) garbage() error {
	if x.scratch == 0 {
		return nil
	}
	words := slices.Repeat([]byte{0xad, 0xeb, 0xd1, 0xff}, int(x.scratch+engine.Alignment)/4)
	return x.dev.Write(x.program.Arena()[0], 0, words)
}

// Run runs the call under a step block.
func (x *Call) Run(ctx context.Context, step []uint32) error {
	if err := x.garbage(); err != nil {
		return err
	}
	block := kernelcheck.StepBlock(step)
	return x.program.Run(ctx, &block)
}

// Read returns a binding's elements as words, nil where it is absent, and whether its
// guards are unchanged.
func (x *Call) Read(i int) (words []uint32, intact bool, err error) {
	b := x.buffers[i]
	if b == nil {
		return nil, true, nil
	}
	all := make([]uint32, b.Bytes/4)
	if err := engine.Download(x.dev, b.View(), all); err != nil {
		return nil, false, err
	}
	g := guard(i)
	end := len(all) - len(g)
	return kernelcheck.Unpack(b.Type, all[len(g):end], x.lengths[i]), slices.Equal(all[:len(g)], g) && slices.Equal(all[end:], g), nil
}

// ScratchIntact reports whether nothing was written past the scratch.
func (x *Call) ScratchIntact() (bool, error) {
	if x.scratch == 0 {
		return true, nil
	}
	after := make([]byte, engine.Alignment)
	if err := x.dev.Read(x.program.Arena()[0], x.scratch, after); err != nil {
		return false, err
	}
	return bytes.Equal(after, bytes.Repeat([]byte{0xad, 0xeb, 0xd1, 0xff}, len(after)/4)), nil
}

// Free releases the call's buffers and program.
func (x *Call) Free() {
	if x.program != nil {
		x.program.Free()
	}
	engine.Free(x.memories)
}

// guard is the contents of the guards of binding i. Every other word is NaN; the others
// are numbers that differ between bindings, since computing with NaN often gives the same
// NaN.
func guard(i int) []uint32 {
	words := make([]uint32, engine.Alignment/4)
	for j := range words {
		words[j] = kernelcheck.Garbage
		if j%2 == 0 {
			words[j] = math.Float32bits(1e7 + float32(1000*i+j))
		}
	}
	return words
}
