//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// Device is an open Vulkan device with one compute queue.
type Device struct {
	engine.MemoryStats
	instance *instance
	physical *physical
	info     engine.Info
	procs    deviceProcs

	handle   vk.Device
	queue    vk.Queue
	commands vk.CommandPool
	fences   [window]vk.Fence
	batch    batch
	// Numbers of command buffers of programs submitted and known to have completed; they
	// differ by at most window.
	submitted, waited int
	// busy is set by the first submission. Without one there is nothing to wait for, and
	// a driver without hardware may not support waits.
	busy bool

	pipelines   pipelines
	slowCompile func(kernels int) // called when compiling takes long; may be nil
	staging     staging
	dummy       *memory // bound where an optional binding is absent
	mapped      bool    // device memory is mapped: written and read in place

	// live are all memories and executables that are not yet freed.
	live map[releaser]struct{}
	// timeout is how long a submission may take before the device counts as lost.
	timeout time.Duration
	lost    error // the error that lost the device
	closed  bool
}

// releaser is a memory or an executable.
type releaser interface{ Free() }

// The longest that one submitted chunk may take, far above SubmitChunks' target.
const (
	hardwareTimeout = 2 * time.Minute
	softwareTimeout = 30 * time.Minute
)

// Open opens device number index of List. Its errors match engine.ErrNoDevice
// and engine.ErrUnsupported.
func Open(index int) (engine.Device, error) {
	d, err := open(index, false)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// open opens a device; with staged it copies through staging memory even where device
// memory can be mapped.
func open(index int, staged bool) (_ *Device, err error) {
	d, err := locate(index)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.create(); err != nil {
		return nil, fmt.Errorf("vulkan:%d (%s): %w", index, d.info.Name, err)
	}
	d.timeout = hardwareTimeout
	if !d.info.Hardware() {
		d.timeout = softwareTimeout
	}
	d.mapped = !staged && d.info.Class != shaders.Discrete && d.physical.canMap()
	if err := d.pipelines.open(d); err != nil {
		return nil, err
	}
	if d.dummy, err = d.allocate(engine.Alignment, "a dummy buffer", deviceMemory); err != nil {
		return nil, err
	}
	return d, nil
}

// locate describes device number index, without opening it.
func locate(index int) (_ *Device, err error) {
	inst, err := newInstance()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			inst.close()
		}
	}()
	devices, err := inst.physicalDevices()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= len(devices) {
		return nil, fmt.Errorf("vulkan:%d: there are %d Vulkan devices, counted from 0: %w", index, len(devices), engine.ErrNoDevice)
	}
	p := inst.describe(index, devices[index])
	return &Device{instance: inst, live: map[releaser]struct{}{}, physical: p, info: p.info}, nil
}

// suitable returns an error where the device cannot compile the engine's kernels.
func (p *physical) suitable() error {
	switch {
	case p.api < vk.Version(vk.MakeVersion(1, 1, 0)):
		return fmt.Errorf("it has Vulkan %s, but 1.1 is required: %w", p.api, engine.ErrUnsupported)
	case p.family == noQueue:
		return fmt.Errorf("it has no compute queue: %w", engine.ErrUnsupported)
	}
	return nil
}

// create makes the device with its queue, command pool and fences.
func (d *Device) create() error {
	p := d.physical
	if p.info.Kind == engine.Null {
		return fmt.Errorf("its driver has no hardware: it compiles shaders but cannot run them (settings such as RADV_FORCE_FAMILY create such devices): %w", engine.ErrUnsupported)
	}
	if err := p.suitable(); err != nil {
		return err
	}
	if err := d.createHandle(); err != nil {
		return err
	}
	d.procs = loadDeviceProcs(d.instance.procs.getDeviceProcAddress, d.handle)
	var queue vk.Queue
	vk.GetDeviceQueue(d.handle, p.family, 0, &queue)
	d.queue = queue
	pool := vk.CommandPoolCreateInfo{
		SType:            vk.StructureTypeCommandPoolCreateInfo,
		Flags:            vk.CommandPoolCreateFlags(vk.CommandPoolCreateResetCommandBufferBit),
		QueueFamilyIndex: p.family,
	}
	defer pool.Free()
	var commands vk.CommandPool
	if err := check("vkCreateCommandPool", vk.CreateCommandPool(d.handle, &pool, nil, &commands)); err != nil {
		return err
	}
	d.commands = commands
	for i := range d.fences {
		var err error
		if d.fences[i], err = d.newFence(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) createHandle() error {
	p := d.physical
	priority := float32(1)
	queue := queueCreateInfo{
		header: header{sType: vk.StructureTypeDeviceQueueCreateInfo},
		family: p.family, count: 1, priorities: &priority,
	}
	info := deviceCreateInfo{
		header:         header{vk.StructureTypeDeviceCreateInfo, unsafe.Pointer(p.features.chain)},
		queueCount:     1,
		queues:         &queue,
		extensionCount: uint32(len(p.features.extensions)),
	}
	names := make([]*byte, len(p.features.extensions))
	for i, name := range p.features.extensions {
		names[i] = cString(name)
	}
	info.extensions = unsafe.SliceData(names)
	var handle vk.Device
	r := d.instance.procs.createDevice.call(id(p.handle), uintptr(unsafe.Pointer(&info)), 0, uintptr(unsafe.Pointer(&handle)))
	if err := check("vkCreateDevice", r); err != nil {
		return err
	}
	d.handle = handle
	return nil
}

func (d *Device) newFence() (fence vk.Fence, err error) {
	info := vk.FenceCreateInfo{SType: vk.StructureTypeFenceCreateInfo}
	defer info.Free()
	err = check("vkCreateFence", vk.CreateFence(d.handle, &info, nil, &fence))
	return fence, err
}

// Info describes the device.
func (d *Device) Info() engine.Info { return d.info }

// SetClass makes later calls of Compile choose the variants preferred for another class
// of device: tests and benchmarks run them all.
func (d *Device) SetClass(c shaders.Class) { d.info.Class = c }

// SetChoices makes later calls of Compile prefer these variants.
func (d *Device) SetChoices(c shaders.Choices) { d.info.Choices = c }

// OnSlowCompile makes Compile call report when compiling has taken a second.
func (d *Device) OnSlowCompile(report func(kernels int)) { d.slowCompile = report }

// usable returns an error if the device is closed or lost.
func (d *Device) usable() error {
	if d.closed {
		return fmt.Errorf("%s is closed", d.info.Device)
	}
	return d.lost
}

// fail records the loss of the device.
func (d *Device) fail(err error) error {
	if d.lost == nil {
		d.lost = fmt.Errorf("%s: %w", d.info.Device, err)
	}
	return d.lost
}

// Close waits for the device and releases everything that was allocated on it. After a
// time-out nothing is released: the device may still be using it.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	if d.busy && d.lost == nil {
		if err := check("vkDeviceWaitIdle", d.procs.deviceWaitIdle.call(id(d.handle))); err != nil {
			d.fail(err)
		}
	}
	d.closed = true
	if d.lost != nil {
		return nil
	}
	for r := range d.live {
		r.Free()
	}
	if d.handle != nil {
		d.staging.close(d)
		d.dummy.destroy()
		d.pipelines.close(d)
		for _, f := range d.fences {
			vk.DestroyFence(d.handle, f, nil)
		}
		vk.DestroyCommandPool(d.handle, d.commands, nil)
		vk.DestroyDevice(d.handle, nil)
	}
	d.instance.close()
	return nil
}
