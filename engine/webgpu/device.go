//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// Device is an open WebGPU device with its queue.
type Device struct {
	engine.MemoryStats
	info     engine.Info
	limits   wgpu.Limits
	instance *wgpu.Instance
	adapter  *wgpu.Adapter
	device   *wgpu.Device
	queue    *wgpu.Queue
	errors   *uncaughtError
	library  queue
	timeout  time.Duration // longest wait before the device counts as lost

	pipelines pipelines
	dummy     *memory      // bound where an optional binding is absent
	out       *wgpu.Buffer // for reading memory
	lost      error        // the error that lost the device
	period    float64      // nanoseconds per tick of the time stamps; 0 = not measured yet

	// live are all memories and executables that are not yet freed.
	live map[releaser]struct{}
}

// releaser is a memory or an executable.
type releaser interface{ Free() }

// Open opens adapter number index of List with its maximum limits. Its errors match
// engine.ErrNoDevice and engine.ErrUnsupported.
func Open(index int) (engine.Device, error) {
	d, err := open(index)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func open(index int) (_ *Device, err error) {
	d := &Device{instance: newInstance(), live: map[releaser]struct{}{}}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	adapters := d.instance.EnumerateAdapters(&wgpu.InstanceEnumerateAdapterOptons{Backends: backends()})
	for i, a := range adapters {
		if i != index {
			a.Release()
		}
	}
	if len(adapters) == 0 {
		return nil, fmt.Errorf("webgpu:%d: %w", index, errNoAdapter)
	}
	if index < 0 || index >= len(adapters) {
		return nil, fmt.Errorf("webgpu:%d: the last WebGPU adapter is webgpu:%d: %w", index, len(adapters)-1, engine.ErrNoDevice)
	}
	d.adapter = adapters[index]
	d.info, d.limits = describe(index, d.adapter), d.adapter.GetLimits().Limits
	descriptor := &wgpu.DeviceDescriptor{RequiredLimits: &wgpu.RequiredLimits{Limits: d.limits}}
	if slices.Contains(d.info.Features, "timestamp-query") {
		descriptor.RequiredFeatures = []wgpu.FeatureName{wgpu.FeatureName_TimestampQuery}
	}
	if d.device, err = d.adapter.RequestDevice(descriptor); err != nil {
		return nil, fmt.Errorf("webgpu:%d (%s): %w: %w", index, d.info.Name, err, engine.ErrUnsupported)
	}
	d.errors = watchErrors(d.device)
	d.queue = d.device.GetQueue()
	d.library = newPolled(d.device)
	d.timeout = softwareTimeout
	if d.info.Hardware() {
		d.timeout = hardwareTimeout
	}
	d.pipelines = newPipelines()
	d.dummy, err = d.allocate(engine.Alignment, "a dummy buffer", storageUsage)
	return d, err
}

// Info describes the device.
func (d *Device) Info() engine.Info { return d.info }

// SetClass makes later calls of Compile choose the variants preferred for another class
// of device: tests and benchmarks run them all.
func (d *Device) SetClass(c shaders.Class) { d.info.Class = c }

// SetChoices makes later calls of Compile prefer these variants.
func (d *Device) SetChoices(c shaders.Choices) { d.info.Choices = c }

func (d *Device) usable() error {
	if d.device == nil {
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

// Close waits for the device and releases everything that was allocated on it. After its
// loss nothing is released: waiting for it would make the library end the process.
func (d *Device) Close() error {
	if d.instance == nil {
		return nil
	}
	if d.lost != nil {
		d.device, d.instance = nil, nil
		return nil
	}
	if d.device != nil && d.wait(context.Background()) != nil {
		d.device, d.instance = nil, nil
		return nil
	}
	d.releaseAll()
	d.instance.Release()
	d.instance = nil
	return nil
}

// releaseAll releases all but the instance.
func (d *Device) releaseAll() {
	if d.device != nil {
		for r := range d.live {
			r.Free()
		}
		d.pipelines.release()
		d.dummy.release()
		if d.out != nil {
			d.out.Release()
		}
		d.library.idle() // lets the library free what was released
		d.queue.Release()
		d.device.Release()
		freeErrors(d.errors)
	}
	if d.adapter != nil {
		d.adapter.Release()
	}
	d.device, d.adapter = nil, nil
}

// invalid converts an error of the library; its error scopes catch validation errors
// only.
func (d *Device) invalid(err error) error {
	return &ValidationError{d.info.Device, gpu.OneLine(err.Error())}
}
