//go:build js

package browser

import (
	"context"
	"fmt"
	"math/bits"
	"runtime"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// chunkBytes is the size of one write or read: the browser keeps a copy of what is written
// until the device has it.
const chunkBytes = 16 << 20

func (d *Device) transferable(m engine.Memory, offset int64, n int) (*memory, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	return gpu.OwnRange[*memory](d, d.info.Device, m, offset, n)
}

// Write copies data to memory at a byte offset, before any later Run. WebGPU writes whole
// words; the other bytes of the first and the last word are read before.
func (d *Device) Write(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil || len(data) == 0 {
		return wrap("write", err)
	}
	offset, data, err = gpu.WholeWords(offset, data, func(at int64, word []byte) error {
		return d.Read(m, at, word[:min(int64(len(word)), mine.size-at)])
	})
	if err != nil {
		return wrap("write", err)
	}
	for len(data) > 0 {
		n := min(len(data), chunkBytes)
		err := try(func() { script.Call("write", d.queue, mine.buffer, offset, pointer(data), n) })
		if err != nil {
			return fmt.Errorf("write: %s: %w", d.info.Device, err)
		}
		runtime.KeepAlive(data)
		if offset, data = offset+int64(n), data[n:]; len(data) > 0 {
			if err := d.wait(context.Background()); err != nil {
				return wrap("write", err)
			}
		}
	}
	return wrap("write", d.uncaught())
}

// Read copies memory at a byte offset into data, after every earlier Run.
func (d *Device) Read(m engine.Memory, offset int64, data []byte) error {
	for len(data) > 0 {
		n := min(int64(len(data)), offset/gpu.Word*gpu.Word+chunkBytes-offset)
		if err := d.Fetch(m, offset, data[:n]); err != nil {
			return err
		}
		if err := d.WaitFetched(); err != nil {
			return err
		}
		offset, data = offset+n, data[n:]
	}
	_, err := d.transferable(m, offset, 0)
	return wrap("read", err)
}

// fetch is a read that was started.
type fetch struct {
	from    js.Value // the staging buffer, of which data are the bytes from skip on
	skip    int64
	data    []byte
	pending promised
}

// Fetch is Read without the wait: data is valid after the next Read or WaitFetched.
func (d *Device) Fetch(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil || len(data) == 0 {
		return wrap("read", err)
	}
	if len(data) > chunkBytes {
		return d.Read(m, offset, data)
	}
	first := offset / gpu.Word * gpu.Word
	size := roundUp(offset+int64(len(data)), gpu.Word) - first
	f := fetch{from: d.staging.take(d, size), skip: offset - first, data: data}
	err = try(func() {
		encoder := d.device.Call("createCommandEncoder")
		encoder.Call("copyBufferToBuffer", mine.buffer, first, f.from, 0, size)
		d.queue.Call("submit", []any{encoder.Call("finish")})
		f.pending = watch(f.from.Call("mapAsync", mapRead, 0, size))
	})
	if err != nil {
		return fmt.Errorf("read: %s: %w", d.info.Device, err)
	}
	d.fetches = append(d.fetches, f)
	return nil
}

// WaitFetched waits until the data of every earlier Fetch is valid.
func (d *Device) WaitFetched() error {
	for len(d.fetches) > 0 {
		f := d.fetches[0]
		d.fetches = d.fetches[1:]
		if _, err := f.pending.wait(context.Background()); err != nil {
			d.fetches = nil
			return wrap("read", d.cause(err))
		}
		script.Call("read", f.from, 0, roundUp(f.skip+int64(len(f.data)), gpu.Word), f.skip, pointer(f.data), len(f.data))
		d.staging.give(f.from)
	}
	return d.uncaught()
}

// staging are the buffers through which memory is read, by the logarithm of their size.
type staging struct{ free [32][]js.Value }

func (s *staging) take(d *Device, size int64) js.Value {
	power := max(bits.Len64(uint64(size-1)), 8)
	if free := s.free[power]; len(free) > 0 {
		s.free[power] = free[:len(free)-1]
		return free[len(free)-1]
	}
	return d.newBuffer(1<<power, readUsage)
}

func (s *staging) give(buffer js.Value) {
	power := bits.Len64(uint64(buffer.Get("size").Int()) - 1)
	s.free[power] = append(s.free[power], buffer)
}

func (s *staging) release() {
	for _, free := range s.free {
		for _, buffer := range free {
			buffer.Call("destroy")
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
