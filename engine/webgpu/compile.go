//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"fmt"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// call is a dispatch ready to be encoded.
type call struct {
	*gpu.Call
	layout    layout
	group     *wgpu.BindGroup
	pipelines []*wgpu.ComputePipeline // of the passes
}

// Compile makes the pipelines and bind groups of the plan. It fails with
// engine.ErrUnsupported when a binding or a grid exceeds the device's limits and
// with engine.ErrOutOfMemory when the temporaries do not fit.
func (d *Device) Compile(p *engine.Plan, arena []engine.Memory) (_ engine.Executable, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", p.Program.Name, err)
		}
	}()
	groups := d.limits.MaxComputeWorkgroupsPerDimension
	program, err := gpu.New(gpu.Device[*memory]{
		Device: d, Own: d.own, MaxGroups: [3]uint32{groups, groups, groups},
		StorageAlignment: int64(d.limits.MinStorageBufferOffsetAlignment), UniformAlignment: int64(d.limits.MinUniformBufferOffsetAlignment),
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
	if err := e.bind(); err != nil {
		return nil, err
	}
	e.ends = engine.SubmitChunks(e.Plan.Dispatches, d.info.Class)
	d.live[e] = struct{}{}
	return e, nil
}

// build makes the pipelines.
func (e *executable) build() error {
	e.calls = make([]call, len(e.Calls))
	for i := range e.calls {
		e.calls[i].Call = &e.Calls[i]
		if err := e.calls[i].build(e.device, e.Plan.Dispatches[i].Kernel); err != nil {
			return e.InCall(i, err)
		}
	}
	return nil
}

func (c *call) build(d *Device, k *shaders.Kernel) (err error) {
	if c.layout, err = d.pipelines.layout(d, smallest(k, c.Call)); err != nil {
		return err
	}
	for _, pass := range c.Variant.Passes {
		pipeline, err := d.pipelines.pipeline(d, k, c.Variant, pass.EntryPoint(), c.layout)
		if err != nil {
			return err
		}
		c.pipelines = append(c.pipelines, pipeline)
	}
	return nil
}

// bind makes the bind groups, one for each dispatch.
func (e *executable) bind() (err error) {
	d := e.device
	for i := range e.calls {
		c := &e.calls[i]
		entries := []wgpu.BindGroupEntry{
			{Binding: 0, Buffer: e.Params.buffer, Offset: uint64(c.Block), Size: uint64(c.BlockBytes())},
			{Binding: 1, Buffer: e.Step.buffer, Size: gpu.StepBytes},
		}
		for j, v := range c.Views {
			entry := wgpu.BindGroupEntry{Binding: uint32(shaders.FirstStorageBinding + j)}
			switch {
			case v.Bytes == 0:
				entry.Buffer, entry.Size = d.dummy.buffer, uint64(d.dummy.size)
			case v.Temp:
				entry.Buffer, entry.Offset, entry.Size = e.Temporaries[v.Segment].(*memory).buffer, uint64(v.Offset), uint64(roundUp(v.Bytes, 4))
			default:
				entry.Buffer, entry.Offset, entry.Size = v.Memory.(*memory).buffer, uint64(v.Offset), uint64(roundUp(v.Bytes, 4))
			}
			entries = append(entries, entry)
		}
		if c.group, err = d.device.CreateBindGroup(&wgpu.BindGroupDescriptor{Layout: c.layout.group, Entries: entries}); err != nil {
			return fmt.Errorf("dispatch %d: %w", i, d.invalid(err))
		}
	}
	return d.uncaught()
}
