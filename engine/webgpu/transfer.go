//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"fmt"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// chunkBytes is the size of one write or read: the library keeps a copy of what is
// written until the device has it.
const chunkBytes = 16 << 20

func (d *Device) transferable(m engine.Memory, offset int64, n int) (*memory, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	return gpu.OwnRange[*memory](d, d.info.Device, m, offset, n)
}

// Write copies data to memory at a byte offset, before any later Run. The library writes
// whole words; the other bytes of the first and the last word are read before.
func (d *Device) Write(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil || len(data) == 0 {
		return wrap("write", err)
	}
	offset, data, err = gpu.WholeWords(offset, data, func(at int64, word []byte) error { return d.readWords(mine, at, word) })
	if err != nil {
		return wrap("write", err)
	}
	for len(data) > 0 {
		n := min(len(data), chunkBytes)
		if err := d.queue.WriteBuffer(mine.buffer, uint64(offset), data[:n]); err != nil {
			return wrap("write", d.invalid(err))
		}
		if offset, data = offset+int64(n), data[n:]; len(data) > 0 {
			d.queue.Submit() // writes are flushed by a submission
			if err := d.wait(context.Background()); err != nil {
				return wrap("write", err)
			}
		}
	}
	return wrap("write", d.uncaught())
}

// Read copies memory at a byte offset into data, after every earlier Run.
func (d *Device) Read(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil || len(data) == 0 {
		return wrap("read", err)
	}
	const word = wgpu.CopyBufferAlignment
	for len(data) > 0 {
		first := offset / word * word
		n := min(int64(len(data)), first+chunkBytes-offset)
		words := make([]byte, roundUp(offset+n, word)-first)
		if err := d.readWords(mine, first, words); err != nil {
			return wrap("read", err)
		}
		copy(data, words[offset-first:][:n])
		offset, data = offset+n, data[n:]
	}
	return nil
}

// readWords copies whole words at an aligned offset, at most chunkBytes.
func (d *Device) readWords(m *memory, offset int64, to []byte) (err error) {
	if d.out == nil {
		if d.out, err = d.newBuffer(chunkBytes, readUsage); err != nil {
			return err
		}
	}
	err = d.submit(func(e *wgpu.CommandEncoder) error {
		return e.CopyBufferToBuffer(m.buffer, uint64(offset), d.out, 0, uint64(len(to)))
	})
	if err != nil {
		return err
	}
	return d.readMapped(d.out, to)
}

// submit encodes and submits one command buffer.
func (d *Device) submit(record func(e *wgpu.CommandEncoder) error) error {
	e, err := d.device.CreateCommandEncoder(nil)
	if err != nil {
		return err
	}
	defer e.Release()
	if err := record(e); err != nil {
		return d.invalid(err)
	}
	commands, err := e.Finish(nil)
	if err != nil {
		return d.invalid(err)
	}
	defer commands.Release()
	d.queue.Submit(commands)
	return d.uncaught()
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
