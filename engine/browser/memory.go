//go:build js

package browser

import (
	"errors"
	"fmt"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// GPUBufferUsage and GPUMapMode of the WebGPU specification.
const (
	usageMapRead      = 0x1
	usageCopySrc      = 0x4
	usageCopyDst      = 0x8
	usageUniform      = 0x40
	usageStorage      = 0x80
	usageQueryResolve = 0x200
	mapRead           = 0x1

	storageUsage = usageStorage | usageCopySrc | usageCopyDst
	uniformUsage = usageUniform | usageCopyDst
	readUsage    = usageMapRead | usageCopyDst
)

// memory is one buffer.
type memory struct {
	device *Device // nil once freed
	size   int64
	buffer js.Value
}

// Size is the number of bytes.
func (m *memory) Size() int64 { return m.size }

// Owner is the memory's device, nil once it is freed.
func (m *memory) Owner() *Device { return m.device }

// Free returns the memory to the device. It may be called again.
func (m *memory) Free() {
	if m.device != nil {
		delete(m.device.live, m)
		m.release()
	}
}

func (m *memory) release() {
	if m == nil || m.device == nil {
		return
	}
	m.device.Add(-m.size)
	m.buffer.Call("destroy")
	m.device, m.buffer = nil, js.Undefined()
}

// Allocate allocates zeroed memory. When the device is out of memory, the error is an
// *engine.OutOfMemoryError.
func (d *Device) Allocate(size int64, what string) (engine.Memory, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if size <= 0 {
		return nil, fmt.Errorf("allocation of %d bytes for %s", size, what)
	}
	m, err := d.allocate(size, what, storageUsage)
	if err != nil {
		return nil, err
	}
	d.live[m] = struct{}{}
	return m, nil
}

func (d *Device) allocate(size int64, what string, usage int) (*memory, error) {
	if limit := d.info.Limits.MaxBufferBytes; size > limit {
		return nil, &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size, Available: limit}
	}
	var buffer js.Value
	err := d.scoped(func() { buffer = d.newBuffer(roundUp(size, gpu.Word), usage) })
	if errors.Is(err, engine.ErrOutOfMemory) {
		return nil, &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size}
	}
	if err != nil {
		return nil, fmt.Errorf("a buffer of %s: %w", engine.Bytes(size), err)
	}
	d.Add(size)
	return &memory{d, size, buffer}, nil
}

func (d *Device) newBuffer(size int64, usage int) js.Value {
	return d.device.Call("createBuffer", map[string]any{"size": size, "usage": usage})
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// own returns a memory of this device, or an error for a foreign or freed one.
func (d *Device) own(m engine.Memory) (*memory, error) { return gpu.Own[*memory](d, d.info.Device, m) }
