//go:build js

package browser

import (
	"fmt"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// call is a dispatch ready to be encoded.
type call struct {
	*gpu.Call
	access    access
	layout    layout
	group     js.Value
	pipelines []*pipeline // of the passes
}

// Compile makes the pipelines and bind groups of the plan. It fails with
// engine.ErrUnsupported when a binding or a grid exceeds the device's limits and with
// engine.ErrOutOfMemory when the temporaries do not fit.
func (d *Device) Compile(p *engine.Plan, arena []engine.Memory) (_ engine.Executable, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", p.Program.Name, err)
		}
	}()
	limit := func(name string) int { return d.device.Get("limits").Get(name).Int() }
	groups := uint32(limit("maxComputeWorkgroupsPerDimension"))
	program, err := gpu.New(gpu.Device[*memory]{
		Device: d, Own: d.own, MaxGroups: [3]uint32{groups, groups, groups},
		StorageAlignment: int64(limit("minStorageBufferOffsetAlignment")), UniformAlignment: int64(limit("minUniformBufferOffsetAlignment")),
		NewBlocks: func(bytes int64, what string) (*memory, error) { return d.allocate(bytes, what, uniformUsage) },
	}, p)
	if err != nil {
		return nil, err
	}
	e := &executable{device: d, Program: program}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if err := e.build(); err != nil {
		return nil, err
	}
	blocks, err := e.Allocate(arena)
	if err != nil {
		return nil, err
	}
	if err := d.Write(e.Params, 0, blocks); err != nil {
		return nil, err
	}
	if err := d.scoped(e.bind); err != nil {
		return nil, err
	}
	e.ends = engine.SubmitChunks(e.Plan.Dispatches, d.info.Class)
	d.live[e] = struct{}{}
	return e, nil
}

// build makes the pipelines. The browser compiles them at the same time.
func (e *executable) build() error {
	d := e.device
	e.calls = make([]call, len(e.Calls))
	for i := range e.calls {
		e.calls[i].Call = &e.Calls[i]
		if err := e.calls[i].start(d, e.Plan.Dispatches[i].Kernel); err != nil {
			return e.InCall(i, err)
		}
	}
	for i := range e.calls {
		c, k := &e.calls[i], e.Plan.Dispatches[i].Kernel
		for _, pass := range c.Variant.Passes {
			if err := d.pipelines.finish(d, c.key(k, pass.EntryPoint())); err != nil {
				return e.InCall(i, err)
			}
		}
	}
	return nil
}

func (c *call) start(d *Device, k *shaders.Kernel) (err error) {
	c.access = accessOf(k, c.Views)
	if c.layout, err = d.pipelines.layout(d, k, c); err != nil {
		return err
	}
	for _, pass := range c.Variant.Passes {
		p, err := d.pipelines.start(d, k, c, pass.EntryPoint())
		if err != nil {
			return err
		}
		c.pipelines = append(c.pipelines, p)
	}
	return nil
}

// bind makes the bind groups, one for each dispatch.
func (e *executable) bind() {
	for i := range e.calls {
		c := &e.calls[i]
		entries := []any{
			entry(0, e.Params, c.Block, c.BlockBytes()),
			entry(1, e.Step, 0, gpu.StepBytes),
		}
		for j, v := range c.Views {
			m, offset, bytes := e.device.dummy, int64(j)*engine.Alignment, int64(engine.Alignment)
			switch {
			case v.Bytes == 0: // a range of its own: two that are written must not overlap
			case v.Temp:
				m, offset, bytes = e.Temporaries[v.Segment].(*memory), v.Offset, roundUp(v.Bytes, word)
			default:
				m, offset, bytes = v.Memory.(*memory), v.Offset, roundUp(v.Bytes, word)
			}
			entries = append(entries, entry(shaders.FirstStorageBinding+j, m, offset, bytes))
		}
		c.group = e.device.device.Call("createBindGroup", map[string]any{"layout": c.layout.group, "entries": entries})
	}
}

func entry(binding int, m *memory, offset, size int64) any {
	return map[string]any{"binding": binding, "resource": map[string]any{"buffer": m.buffer, "offset": offset, "size": size}}
}
