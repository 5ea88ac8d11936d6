package kernelbench

import (
	"context"
	"math/rand/v2"
	"time"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// call is a case on a device: a program of one dispatch over its own buffers.
type call struct {
	dev      engine.Device
	c        *Case
	buffers  []*engine.Buffer // nil where a binding is absent
	memories []engine.Memory
	program  engine.Executable
}

// newCall allocates a case's buffers and compiles it.
func newCall(dev engine.Device, c *Case) (_ *call, err error) {
	x := &call{dev: dev, c: c, buffers: make([]*engine.Buffer, len(c.sizes))}
	defer func() {
		if err != nil {
			x.free()
		}
	}()
	views := make([]engine.View, len(c.sizes))
	for i, bytes := range c.sizes {
		if bytes == 0 {
			continue
		}
		if first := c.shares[i]; first != i {
			x.buffers[i] = x.buffers[first]
		} else {
			x.buffers[i] = kernelcheck.NewBuffer(c.Kernel.Bindings[i], c.typeOf(i), bytes)
			placed, err := engine.Allocate(dev, "a case's buffers", x.buffers[i])
			if err != nil {
				return nil, err
			}
			x.memories = append(x.memories, placed...)
		}
		views[i] = x.buffers[i].View()
	}
	x.program, err = kernelcheck.Compile(dev, c.Kernel, c.Params, views, 0)
	return x, err
}

func (x *call) free() {
	if x.program != nil {
		x.program.Free()
	}
	engine.Free(x.memories)
}

// fill writes the contents of every binding.
func (x *call) fill() error {
	for i, in := range x.c.contents() {
		b := x.buffers[i]
		if b == nil || x.c.shares[i] != i {
			continue
		}
		var err error
		switch {
		case in.F != nil:
			err = engine.UploadFloats(x.dev, b.View(), in.F)
		case in.I != nil:
			err = engine.Upload(x.dev, b.View(), in.I)
		case in.U != nil:
			err = engine.Upload(x.dev, b.View(), in.U)
		default:
			err = x.noise(b, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// normals are normally distributed values that are repeated: their number is a prime, so
// that rows differ.
var normals = func() []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 1<<20-3)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}()

// noise fills a buffer with normally distributed values.
func (x *call) noise(b *engine.Buffer, in shaders.Input) error {
	values := normals
	if in.Scale != 1 || in.Mean != 0 {
		values = make([]float32, min(len(normals), int(b.Bytes/b.Type.Size())))
		for i := range values {
			values[i] = float32(in.Mean + in.Scale*float64(normals[i]))
		}
	}
	size := b.Type.Size()
	for at := int64(0); at < b.Bytes; at += size * int64(len(values)) {
		part := values[:min(int64(len(values)), (b.Bytes-at)/size)]
		if err := engine.UploadFloats(x.dev, b.View().Slice(at, size*int64(len(part))), part); err != nil {
			return err
		}
	}
	return nil
}

// time runs the call once and returns the device's time of it.
func (x *call) time(ctx context.Context) (time.Duration, error) {
	timings, err := x.program.Profile(ctx, &x.c.Step)
	if err != nil || len(timings) == 0 {
		return 0, err
	}
	return max(timings[0].Duration, 1), nil
}

// read returns the words of binding i.
func (x *call) read(i int) ([]uint32, error) {
	words := make([]uint32, x.c.sizes[i]/4)
	err := engine.Download(x.dev, x.buffers[i].View(), words)
	return kernelcheck.Unpack(x.c.typeOf(i), words, int(x.c.elementsOf(i))), err
}
