//go:build cgo && linux && (amd64 || arm64)

package vulkan

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

const (
	uniformBuffer = uint32(vk.DescriptorTypeUniformBuffer)
	storageBuffer = uint32(vk.DescriptorTypeStorageBuffer)
	stepBytes     = 4 * shaders.StepWords
)

// call is a dispatch ready to be recorded.
type call struct {
	build  build
	views  []engine.ResolvedView
	params []uint32
	block  uint64 // offset of its parameters
	set    vk.DescriptorSet
	passes []pass
}

type pass struct {
	pipeline vk.Pipeline
	grid     [3]uint32
}

// Compile records the plan into command buffers. It fails with
// engine.ErrUnsupported when a binding or a grid passes the device's limits and
// with engine.ErrOutOfMemory when the temporaries do not fit.
func (d *Device) Compile(p *engine.Plan, arena []engine.Memory) (_ engine.Executable, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	e := &executable{device: d, plan: p.Within(d.info.Limits.MaxBindingBytes)}
	defer func() {
		if err != nil {
			e.release()
			err = fmt.Errorf("%s: %w", p.Program.Name, err)
		}
	}()
	if b := p.Unplaced(); b != nil {
		return nil, fmt.Errorf("buffer %q has no memory", b.Label)
	}
	if err := e.resolve(); err != nil {
		return nil, err
	}
	if err := e.build(); err != nil {
		return nil, err
	}
	if err := e.allocate(arena); err != nil {
		return nil, err
	}
	if err := e.describe(); err != nil {
		return nil, err
	}
	if e.commands, err = e.record(nil); err != nil {
		return nil, err
	}
	d.live[e] = struct{}{}
	return e, nil
}

// resolve chooses variants and locates views, and checks all against the limits.
func (e *executable) resolve() error {
	e.calls = make([]call, len(e.plan.Dispatches))
	for i := range e.calls {
		d := &e.plan.Dispatches[i]
		if err := e.resolveCall(d, &e.calls[i]); err != nil {
			return fmt.Errorf("dispatch %d (%s), kernel %s: %w", i, d.Label, d.Kernel.Name, err)
		}
	}
	return nil
}

func (e *executable) resolveCall(dispatch *engine.Dispatch, c *call) error {
	d := e.device
	variant, _ := d.info.Choose(dispatch.Kernel, dispatch.Params, dispatch.Storage)
	if variant == nil {
		return fmt.Errorf("no variant for %+v on %s: %w", dispatch.Params, d.info.Device, engine.ErrUnsupported)
	}
	l, err := d.pipelines.layout(d, len(dispatch.Views))
	if err != nil {
		return err
	}
	c.build = build{dispatch.Kernel, variant, l, variant.Constants(dispatch.Params, d.info.Target())}
	c.params = shaders.PackParams(dispatch.Params)
	for j, v := range dispatch.Views {
		r := engine.Resolve(v)
		if err := e.checkView(v, r); err != nil {
			return fmt.Errorf("binding %s: %w", dispatch.Kernel.Bindings[j].Name, err)
		}
		c.views = append(c.views, r)
	}
	for _, s := range variant.Passes {
		grid := s.Grid(dispatch.Params)
		if err := d.checkGrid(grid); err != nil {
			return err
		}
		c.passes = append(c.passes, pass{grid: grid})
	}
	return nil
}

func (d *Device) checkGrid(grid [3]uint32) error {
	for axis, most := range d.physical.limits.groups {
		if grid[axis] > most {
			return fmt.Errorf("a grid of %v workgroups, %s allows %v: %w", grid, d.info.Device, d.physical.limits.groups, engine.ErrUnsupported)
		}
	}
	return nil
}

// checkView checks where a view lies and notes whose memory it needs.
func (e *executable) checkView(v engine.View, r engine.ResolvedView) error {
	d := e.device
	if v.Buffer == nil || r.Bytes == 0 {
		return nil
	}
	var size int64
	if r.Temp {
		size = e.plan.Arena[r.Segment]
	} else {
		m, err := d.own(r.Memory)
		if err != nil {
			return fmt.Errorf("buffer %q: %w", v.Buffer.Label, err)
		}
		if size = m.size; !slices.Contains(e.uses, m) {
			e.uses = append(e.uses, m)
		}
	}
	return d.info.CheckBinding(v, r, size, d.physical.limits.storageAlignment)
}

// build makes the pipelines.
func (e *executable) build() error {
	p := &e.device.pipelines
	builds := make([]build, len(e.calls))
	for i := range e.calls {
		builds[i] = e.calls[i].build
	}
	if err := p.make(e.device, builds); err != nil {
		return err
	}
	for i := range e.calls {
		c := &e.calls[i]
		for j := range c.passes {
			key, _ := c.build.pass(j)
			c.passes[j].pipeline = p.made[key]
		}
	}
	return nil
}

// allocate finds room for the temporaries and for the parameter and step blocks.
func (e *executable) allocate(arena []engine.Memory) (err error) {
	d := e.device
	if arena == nil {
		if arena, err = engine.AllocateSegments(d, "activations", e.plan.Arena); err != nil {
			return err
		}
		e.ownArena = true
	}
	e.arena = arena
	if err := e.plan.CheckArena(arena); err != nil {
		return err
	}
	for _, a := range arena {
		m, err := d.own(a)
		if err != nil {
			return err
		}
		e.uses = append(e.uses, m)
	}
	if e.step, err = d.allocate(stepBytes, "the step block", blockMemory); err != nil {
		return err
	}
	return e.writeParams()
}

// writeParams lays the parameter blocks of all dispatches out in one buffer.
func (e *executable) writeParams() (err error) {
	alignment := uint64(max(e.device.physical.limits.uniformAlignment, 16))
	var size uint64
	for i := range e.calls {
		e.calls[i].block = size
		size += (uint64(max(4*len(e.calls[i].params), 16)) + alignment - 1) / alignment * alignment
	}
	e.params, err = e.device.allocate(int64(max(size, 16)), "parameter blocks", blockMemory)
	if err != nil {
		return err
	}
	for i := range e.calls {
		at := e.params.data[e.calls[i].block:]
		for j, w := range e.calls[i].params {
			binary.NativeEndian.PutUint32(at[4*j:], w)
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
		storage += len(e.calls[i].views)
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
		{e.params.buffer, c.block, uint64(max(4*len(c.params), 16))},
		{e.step.buffer, 0, stepBytes},
	}
	views := make([]bufferRange, len(c.views))
	for i, v := range c.views {
		switch {
		case v.Bytes == 0:
			views[i] = bufferRange{e.device.dummy.buffer, 0, uint64(e.device.dummy.size)}
		case v.Temp:
			views[i] = bufferRange{e.arena[v.Segment].(*memory).buffer, uint64(v.Offset), uint64(v.Bytes)}
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
	// A write of several descriptors goes on in the bindings that follow.
	writes := []descriptorWrite{write(0, uniformBuffer, blocks), write(shaders.FirstStorageBinding, storageBuffer, views)}
	n := uintptr(len(writes))
	if len(views) == 0 {
		n = 1
	}
	e.device.procs.updateDescriptorSets.call(id(e.device.handle), n, uintptr(unsafe.Pointer(unsafe.SliceData(writes))), 0, 0)
}
