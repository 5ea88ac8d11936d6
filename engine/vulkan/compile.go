//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

const (
	uniformBuffer = uint32(vk.DescriptorTypeUniformBuffer)
	storageBuffer = uint32(vk.DescriptorTypeStorageBuffer)
)

// call is a dispatch ready to be recorded.
type call struct {
	*gpu.Call
	build     build
	set       vk.DescriptorSet
	pipelines []vk.Pipeline // of the passes
}

// Compile records the plan into command buffers. It fails with
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
	limits := &d.physical.limits
	program, err := gpu.New(gpu.Device[*memory]{
		Device: d, Own: d.own, MaxGroups: limits.groups, StorageAlignment: limits.storageAlignment, UniformAlignment: limits.uniformAlignment,
		NewBlocks: func(bytes int64, what string) (*memory, error) { return d.allocate(bytes, what, blockMemory) },
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
	copy(e.Params.data, blocks)
	if err := e.describe(); err != nil {
		return nil, err
	}
	if e.commands, err = e.record(nil); err != nil {
		return nil, err
	}
	d.live[e] = struct{}{}
	return e, nil
}

// build makes the pipelines.
func (e *executable) build() error {
	d := e.device
	builds := make([]build, len(e.Calls))
	e.calls = make([]call, len(e.Calls))
	for i := range e.calls {
		dispatch, c := &e.Plan.Dispatches[i], &e.Calls[i]
		var err error
		if builds[i], err = d.newBuild(dispatch.Kernel, c.Variant, dispatch.Params, len(c.Views)); err != nil {
			return e.InCall(i, err)
		}
		e.calls[i] = call{Call: c, build: builds[i]}
	}
	if err := d.pipelines.make(d, builds); err != nil {
		return err
	}
	for i := range e.calls {
		c := &e.calls[i]
		for pass := range c.Grids {
			key, _ := c.build.pass(pass)
			c.pipelines = append(c.pipelines, d.pipelines.made[key])
		}
	}
	return nil
}

// describe makes the descriptor sets, one for each dispatch.
func (e *executable) describe() error {
	if len(e.calls) == 0 {
		return nil
	}
	if err := e.newSets(); err != nil {
		return err
	}
	for i := range e.calls {
		e.writeSet(&e.calls[i])
	}
	return nil
}

func (e *executable) newSets() error {
	d := e.device
	layouts := make([]vk.DescriptorSetLayout, len(e.calls))
	storage := 0
	for i := range e.calls {
		layouts[i] = e.calls[i].build.layout.set
		storage += len(e.calls[i].Views)
	}
	n := uint32(len(layouts))
	sizes := []descriptorPoolSize{{uniformBuffer, 2 * n}, {storageBuffer, uint32(max(storage, 1))}}
	pool := descriptorPoolCreateInfo{
		header:    header{sType: vk.StructureTypeDescriptorPoolCreateInfo},
		maxSets:   n,
		sizeCount: uint32(len(sizes)),
		sizes:     unsafe.SliceData(sizes),
	}
	r := d.procs.createDescriptorPool.call(id(d.handle), uintptr(unsafe.Pointer(&pool)), 0, uintptr(unsafe.Pointer(&e.pool)))
	if err := check("vkCreateDescriptorPool", r); err != nil {
		return err
	}
	info := descriptorSetAllocateInfo{
		header:  header{sType: vk.StructureTypeDescriptorSetAllocateInfo},
		pool:    e.pool,
		count:   n,
		layouts: unsafe.SliceData(layouts),
	}
	sets := make([]vk.DescriptorSet, n)
	r = d.procs.allocateDescriptorSets.call(id(d.handle), uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(unsafe.SliceData(sets))))
	if err := check("vkAllocateDescriptorSets", r); err != nil {
		return err
	}
	for i := range e.calls {
		e.calls[i].set = sets[i]
	}
	return nil
}

// writeSet points a call's descriptors at its blocks and views.
func (e *executable) writeSet(c *call) {
	blocks := []bufferRange{
		{e.Params.buffer, uint64(c.Block), uint64(c.BlockBytes())},
		{e.Step.buffer, 0, gpu.StepBytes},
	}
	views := make([]bufferRange, len(c.Views))
	for i, v := range c.Views {
		switch {
		case v.Bytes == 0:
			views[i] = bufferRange{e.device.dummy.buffer, 0, uint64(e.device.dummy.size)}
		case v.Temp:
			views[i] = bufferRange{e.Temporaries[v.Segment].(*memory).buffer, uint64(v.Offset), uint64(v.Bytes)}
		default:
			views[i] = bufferRange{v.Memory.(*memory).buffer, uint64(v.Offset), uint64(v.Bytes)}
		}
	}
	write := func(first int, kind uint32, ranges []bufferRange) descriptorWrite {
		return descriptorWrite{
			header:  header{sType: vk.StructureTypeWriteDescriptorSet},
			set:     c.set,
			binding: uint32(first),
			count:   uint32(len(ranges)),
			kind:    kind,
			buffers: unsafe.SliceData(ranges),
		}
	}
	// A write of several descriptors continues in the following bindings.
	writes := []descriptorWrite{write(0, uniformBuffer, blocks), write(shaders.FirstStorageBinding, storageBuffer, views)}
	n := uintptr(len(writes))
	if len(views) == 0 {
		n = 1
	}
	e.device.procs.updateDescriptorSets.call(id(e.device.handle), n, uintptr(unsafe.Pointer(unsafe.SliceData(writes))), 0, 0)
}
