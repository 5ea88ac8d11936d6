//go:build js

package browser

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
	"time"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// Device is an open WebGPU device with its queue.
type Device struct {
	engine.MemoryStats
	info   engine.Info
	device js.Value
	queue  js.Value

	pipelines pipelines
	dummy     *memory // bound where an optional binding is absent
	staging   staging
	fetches   []fetch
	closed    bool

	lost  error         // the error that lost the device
	gone  chan struct{} // closed then
	fault error         // the first uncaptured error since uncaught was called

	onLost, onFault js.Func

	// live are all memories and executables that are not yet freed.
	live map[releaser]struct{}
}

// maxBindings is more than the storage bindings of any kernel.
const maxBindings = 16

// releaser is a memory or an executable.
type releaser interface{ Free() }

// Open opens the GPU that the browser prefers, with its maximum limits. Its errors match
// engine.ErrNoDevice and engine.ErrUnsupported.
func Open() (engine.Device, error) {
	d, err := open()
	if err != nil {
		return nil, err
	}
	return d, nil
}

func open() (*Device, error) {
	if script.IsUndefined() {
		return nil, fmt.Errorf("the page has not loaded browser.js of package engine/browser: %w", engine.ErrNoDevice)
	}
	adapter, err := requestAdapter()
	if err != nil {
		return nil, err
	}
	d := &Device{info: describe(adapter), live: map[releaser]struct{}{}, pipelines: newPipelines(), gone: make(chan struct{})}
	if d.device, err = requestDevice(adapter, d.info.Features); err != nil {
		return nil, fmt.Errorf("%s (%s): %w: %w", d.info.Device, d.info.Name, err, engine.ErrUnsupported)
	}
	d.queue = d.device.Get("queue")
	d.onLost = js.FuncOf(func(_ js.Value, args []js.Value) any {
		if !d.closed {
			d.fail(fmt.Errorf("%w: %w", errors.New(gpu.OneLine(args[0].Get("message").String())), engine.ErrDeviceLost))
		}
		return nil
	})
	d.device.Get("lost").Call("then", d.onLost)
	d.onFault = js.FuncOf(func(_ js.Value, args []js.Value) any {
		if d.fault == nil {
			d.fault = d.faultOf(args[0].Get("error"))
		}
		return nil
	})
	d.device.Call("addEventListener", "uncapturederror", d.onFault)
	d.dummy, err = d.allocate(maxBindings*engine.Alignment, "a dummy buffer", storageUsage)
	return d, err
}

// Info describes the device.
func (d *Device) Info() engine.Info { return d.info }

// SetClass makes later calls of Compile choose the variants preferred for another class
// of device: tests run them all.
func (d *Device) SetClass(c shaders.Class) { d.info.Class = c }

// SetChoices makes later calls of Compile prefer these variants.
func (d *Device) SetChoices(c shaders.Choices) { d.info.Choices = c }

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
		close(d.gone)
	}
	return d.lost
}

// lossTime is how long after a failed call the loss of the device that caused it may be reported.
const lossTime = 100 * time.Millisecond

// cause is the reason why a call failed: the loss of the device, where there was one.
func (d *Device) cause(err error) error {
	select {
	case <-d.gone:
	case <-time.After(lossTime):
	}
	if fault := d.uncaught(); fault != nil {
		return fault
	}
	return fmt.Errorf("%s: %w", d.info.Device, err)
}

// faultOf converts an error object of WebGPU.
func (d *Device) faultOf(v js.Value) error {
	err := fmt.Errorf("%s: %w", d.info.Device, reason(v))
	if v.InstanceOf(js.Global().Get("GPUOutOfMemoryError")) {
		return fmt.Errorf("%w: %w", err, &engine.OutOfMemoryError{Device: d.info.Device})
	}
	return err
}

// uncaught returns the error of earlier calls that only an event reported.
func (d *Device) uncaught() error {
	if d.lost != nil {
		return d.lost
	}
	err := d.fault
	d.fault = nil
	return err
}

// wait waits until all submitted work is done. A cancelled wait returns the context's error,
// while the work continues.
func (d *Device) wait(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	if _, err := watch(d.queue.Call("onSubmittedWorkDone")).wait(ctx); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return d.cause(err)
	}
	return d.uncaught()
}

// scoped calls f and returns the error that WebGPU finds with it.
func (d *Device) scoped(f func()) error {
	filters := []string{"validation", "out-of-memory", "internal"}
	for _, filter := range filters {
		d.device.Call("pushErrorScope", filter)
	}
	thrown := try(f)
	var scopes []promised
	for range filters {
		scopes = append(scopes, watch(d.device.Call("popErrorScope")))
	}
	var found error
	for _, scope := range scopes {
		switch fault, err := scope.wait(context.Background()); {
		case err != nil:
			found = d.cause(err) // the device is lost
		case !fault.IsNull():
			found = d.faultOf(fault)
		}
	}
	switch {
	case d.lost != nil:
		return d.lost
	case thrown != nil:
		return d.cause(thrown)
	}
	return found
}

// Close releases everything that was allocated on the device.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	for r := range d.live {
		r.Free()
	}
	d.dummy.release()
	d.staging.release()
	d.closed = true
	d.device.Call("removeEventListener", "uncapturederror", d.onFault)
	d.device.Call("destroy")
	d.onFault.Release() // onLost is called once more
	return nil
}
