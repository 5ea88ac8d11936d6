package conformance

import (
	"context"
	"slices"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// Call is a program of one dispatch over buffers of its own. Every binding starts
// at the smallest offset that is legal and not 0, with a guard before it and one
// behind.
type Call struct {
	dev      engine.Device
	buffers  []*engine.Buffer // nil where a binding is absent
	lengths  []int            // elements
	memories []engine.Memory
	program  engine.Executable
}

// NewCall places and compiles a case. contents are those of kernelcheck.Fill. The
// dispatch is cut to bind at most so many bytes of a buffer; 0 = no limit.
func NewCall(dev engine.Device, k *shaders.Kernel, c shaders.Case, contents [][]uint32, most int64) (_ *Call, err error) {
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
		bytes := engine.Room(t, len(w))
		b := engine.NewBuffer(k.Bindings[i].Name, bytes+2*engine.Alignment)
		if t.Half() {
			b.Type = t
		}
		x.buffers[i], views[i] = b, b.View().Slice(engine.Alignment, bytes)
		x.lengths = append(x.lengths, len(w))
		present = append(present, b)
	}
	if x.memories, err = engine.Allocate(dev, "a case", present...); err != nil {
		return nil, err
	}
	if err = x.Reset(contents); err != nil {
		return nil, err
	}
	program := engine.NewProgram(k.Name)
	program.Dispatch(k, c.Params, views...)
	plan, err := engine.NewPlan(program)
	if err != nil {
		return nil, err
	}
	x.program, err = dev.Compile(plan.Within(most), nil)
	return x, err
}

// Reset writes the contents and the guards.
func (x *Call) Reset(contents [][]uint32) error {
	for i, b := range x.buffers {
		if b == nil {
			continue
		}
		if err := engine.Upload(x.dev, b.View(), slices.Concat(guard, kernelcheck.Pack(b.Type, contents[i]), guard)); err != nil {
			return err
		}
	}
	return nil
}

// Run runs the call under a step block.
func (x *Call) Run(ctx context.Context, step []uint32) error {
	block := kernelcheck.StepBlock(step)
	return x.program.Run(ctx, &block)
}

// Read returns a binding's elements as words, nil where it is absent, and whether its guards
// are as they were.
func (x *Call) Read(i int) (words []uint32, intact bool, err error) {
	b := x.buffers[i]
	if b == nil {
		return nil, true, nil
	}
	all := make([]uint32, b.Bytes/4)
	if err := engine.Download(x.dev, b.View(), all); err != nil {
		return nil, false, err
	}
	end := len(all) - len(guard)
	return kernelcheck.Unpack(b.Type, all[len(guard):end], x.lengths[i]), slices.Equal(all[:len(guard)], guard) && slices.Equal(all[end:], guard), nil
}

// Free releases what the call holds.
func (x *Call) Free() {
	if x.program != nil {
		x.program.Free()
	}
	for _, m := range x.memories {
		m.Free()
	}
}

// guard is what lies before and behind a binding.
var guard = slices.Repeat([]uint32{kernelcheck.Garbage}, engine.Alignment/4)
