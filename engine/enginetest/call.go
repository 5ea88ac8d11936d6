package enginetest

import (
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// call is a program of one dispatch over buffers of its own, each with a guard
// behind it.
type call struct {
	dev      engine.Device
	buffers  []*engine.Buffer // nil where a binding is absent
	memories []engine.Memory
	program  engine.Executable
}

func newCall(dev engine.Device, k *shaders.Kernel, c shaders.Case, s shaders.Storage, contents [][]uint32) (_ *call, err error) {
	return newCallWithin(dev, k, c, s, contents, 0)
}

// newCallWithin is newCall with the dispatch cut to bind at most so many bytes of a
// buffer; 0 = no limit.
func newCallWithin(dev engine.Device, k *shaders.Kernel, c shaders.Case, s shaders.Storage, contents [][]uint32, most int64) (_ *call, err error) {
	x := &call{dev: dev, buffers: make([]*engine.Buffer, len(contents))}
	defer func() {
		if err != nil {
			x.free()
		}
	}()
	views := make([]engine.View, len(contents))
	var present []*engine.Buffer
	for i, w := range contents {
		if c.Inputs[i].Absent {
			continue
		}
		t := s.Of(i, k.Bindings[i])
		bytes := engine.Room(t, len(w))
		b := engine.NewBuffer(k.Bindings[i].Name, bytes+engine.Alignment)
		if t.Half() {
			b.Type = t
		}
		x.buffers[i], views[i] = b, b.View().Slice(0, bytes)
		present = append(present, b)
	}
	if x.memories, err = engine.Allocate(dev, "a test", present...); err != nil {
		return nil, err
	}
	if err = x.reset(contents); err != nil {
		return nil, err
	}
	program := engine.NewProgram(k.Name)
	program.Dispatch(k, c.Params, views...)
	plan, err := engine.NewPlan(program)
	if err != nil {
		return x, err
	}
	x.program, err = dev.Compile(plan.Within(most), nil)
	return x, err
}

// compile plans and compiles a recording.
func compile(dev engine.Device, p *engine.Program, arena engine.Memory) (engine.Executable, error) {
	plan, err := engine.NewPlan(p)
	if err != nil {
		return nil, err
	}
	return dev.Compile(plan, arena)
}

// reset writes the contents and the guards.
func (x *call) reset(contents [][]uint32) error {
	for i, b := range x.buffers {
		if b == nil {
			continue
		}
		if err := engine.Upload(x.dev, b.View(), slices.Concat(kernelcheck.Pack(b.Type, contents[i]), guard())); err != nil {
			return err
		}
	}
	return nil
}

func (x *call) run(t *testing.T, step []uint32) error {
	block := kernelcheck.StepBlock(step)
	return x.program.Run(t.Context(), &block)
}

// read returns a binding's n elements as words and what is behind them.
func (x *call) read(i, n int) (got, behind []uint32, err error) {
	b := x.buffers[i]
	words := make([]uint32, b.Bytes/4)
	if err := engine.Download(x.dev, b.View(), words); err != nil {
		return nil, nil, err
	}
	room := engine.Room(b.Type, n) / 4
	return kernelcheck.Unpack(b.Type, words, n), words[room:], nil
}

func (x *call) free() {
	if x.program != nil {
		x.program.Free()
	}
	for _, m := range x.memories {
		m.Free()
	}
}
