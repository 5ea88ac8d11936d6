//go:build js

package browser

import (
	"fmt"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// call is a dispatch ready to be encoded.
type call struct {
	*gpu.Call
	access    access
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
	b := e.binder()
	if err := d.scoped(func() { e.bound = b.bind(d) }); err != nil {
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
		for _, p := range e.calls[i].pipelines {
			if err := d.finish(p); err != nil {
				return e.InCall(i, err)
			}
		}
	}
	return nil
}

func (c *call) start(d *Device, k *shaders.Kernel) error {
	c.access = accessOf(k, c.Variant, c.Views)
	for _, pass := range c.Variant.Passes {
		p, err := d.pipelines.start(d, k, c, pass.EntryPoint())
		if err != nil {
			return err
		}
		c.pipelines = append(c.pipelines, p)
	}
	return nil
}
