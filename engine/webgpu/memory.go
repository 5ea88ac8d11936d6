//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"errors"
	"fmt"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

const (
	storageUsage = wgpu.BufferUsage_Storage | wgpu.BufferUsage_CopySrc | wgpu.BufferUsage_CopyDst
	uniformUsage = wgpu.BufferUsage_Uniform | wgpu.BufferUsage_CopyDst
	readUsage    = wgpu.BufferUsage_MapRead | wgpu.BufferUsage_CopyDst
)

// memory is one buffer.
type memory struct {
	device *Device // nil once freed
	size   int64
	buffer *wgpu.Buffer
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
	if m.device.lost == nil {
		m.buffer.Destroy()
		m.buffer.Release()
	}
	m.device, m.buffer = nil, nil
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

func (d *Device) allocate(size int64, what string, usage wgpu.BufferUsage) (*memory, error) {
	if limit := d.info.Limits.MaxBufferBytes; size > limit {
		return nil, &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size, Available: limit}
	}
	buffer, err := d.newBuffer(roundUp(size, wgpu.CopyBufferAlignment), usage)
	if errors.Is(err, engine.ErrOutOfMemory) {
		return nil, &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size}
	}
	if err != nil {
		return nil, err
	}
	d.Add(size)
	return &memory{d, size, buffer}, nil
}

func (d *Device) newBuffer(size int64, usage wgpu.BufferUsage) (*wgpu.Buffer, error) {
	buffer, err := d.device.CreateBuffer(&wgpu.BufferDescriptor{Size: uint64(size), Usage: usage})
	if err != nil {
		return nil, fmt.Errorf("a buffer of %s: %w", engine.Bytes(size), d.invalid(err))
	}
	if err := d.uncaught(); err != nil {
		buffer.Release()
		return nil, fmt.Errorf("%s: a buffer of %s: %w", d.info.Device, engine.Bytes(size), err)
	}
	return buffer, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// own returns a memory of this device, or an error for a foreign or freed one.
func (d *Device) own(m engine.Memory) (*memory, error) { return gpu.Own[*memory](d, d.info.Device, m) }
