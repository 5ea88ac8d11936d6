// Package cpu runs programs on the CPU by the kernels' CPU forms on all cores.
// Matrix products are our own where there is assembly for the processor, else
// OpenBLAS's where its library is installed, else plain Go.
package cpu

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"patchwork/engine"
	"patchwork/shaders"
)

// Device is the CPU as an engine device.
type Device struct{ host *host }

// Open returns the CPU device working on the given number of threads, or on
// every core when threads is 0.
func Open(threads int) *Device {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{host: newHost(threads, bestProduct())}
}

// Info describes the CPU; Driver names what multiplies matrices.
func (d *Device) Info() engine.Info {
	return engine.Info{
		Device: "cpu", Name: cpuName(), Kind: "cpu", Driver: d.host.product.name, Class: shaders.Software,
		Memory:   totalMemory(),
		Features: cpuFeatures(),
		Limits:   engine.Limits{MaxInvocations: d.host.threads},
	}
}

// memory is a Go slice, aligned for vector loads.
type memory struct{ data []byte }

func (m *memory) Size() int64 { return int64(len(m.data)) }
func (m *memory) Free()       { m.data = nil }

// Allocate reserves zeroed memory.
func (d *Device) Allocate(bytes int64, what string) (m engine.Memory, err error) {
	if total := totalMemory(); total > 0 && bytes > total {
		return nil, &engine.OutOfMemoryError{What: what, Asked: bytes, Available: total}
	}
	words := make([]uint64, (bytes+engine.Alignment)/8+1)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % engine.Alignment
	return &memory{raw[skip : int64(skip)+bytes : int64(skip)+bytes]}, nil
}

// Write copies data into memory.
func (d *Device) Write(m engine.Memory, offset int64, data []byte) error {
	if offset < 0 || offset+int64(len(data)) > m.Size() {
		return fmt.Errorf("write of %d bytes at %d into %d", len(data), offset, m.Size())
	}
	copy(m.(*memory).data[offset:], data)
	return nil
}

// Read copies memory into data.
func (d *Device) Read(m engine.Memory, offset int64, data []byte) error {
	if offset < 0 || offset+int64(len(data)) > m.Size() {
		return fmt.Errorf("read of %d bytes at %d from %d", len(data), offset, m.Size())
	}
	copy(data, m.(*memory).data[offset:])
	return nil
}

// Close has nothing to release.
func (d *Device) Close() error { return nil }

// Compile resolves every view of the plan to a slice.
func (d *Device) Compile(p *engine.Plan, arena engine.Memory) (engine.Executable, error) {
	if b := p.Unplaced(); b != nil {
		return nil, fmt.Errorf("%s: buffer %q has no memory", p.Program.Name, b.Label)
	}
	if arena == nil {
		m, err := d.Allocate(max(p.Arena, 1), "activations")
		if err != nil {
			return nil, err
		}
		arena = m
	}
	e := &executable{host: d.host, arena: arena.(*memory), calls: make([]call, len(p.Dispatches))}
	for i, dispatch := range p.Dispatches {
		buffers := make(shaders.Buffers, len(dispatch.Views))
		for j, v := range dispatch.Views {
			buffers[j] = e.slice(engine.Resolve(v))
		}
		e.calls[i] = call{dispatch.Kernel, dispatch.Params, buffers}
	}
	return e, nil
}

type call struct {
	kernel  *shaders.Kernel
	params  any
	buffers shaders.Buffers
}

type executable struct {
	host  *host
	arena *memory
	calls []call
	pace  pace
}

func (e *executable) slice(v engine.ResolvedView) []byte {
	if v.Bytes == 0 {
		return nil
	}
	data := e.arena.data
	if !v.Temp {
		data = v.Memory.(*memory).data
	}
	return data[v.Offset : v.Offset+v.Bytes : v.Offset+v.Bytes]
}

// Run walks the calls in order.
func (e *executable) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	return e.walk(ctx, step, func(int, time.Duration, time.Duration) {})
}

// Profile walks the calls and measures each.
func (e *executable) Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]engine.Timing, error) {
	timings := make([]engine.Timing, len(e.calls))
	err := e.walk(ctx, step, func(i int, start, end time.Duration) {
		timings[i] = engine.Timing{Dispatch: i, Start: start, Duration: end - start}
	})
	return timings, err
}

// walk runs the calls and tells done the time of each since the beginning.
func (e *executable) walk(ctx context.Context, step *[shaders.StepWords]uint32, done func(i int, start, end time.Duration)) error {
	e.host.step = step[:]
	return e.host.during(&e.pace, func() error {
		begin := time.Now()
		for i := range e.calls {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, start := &e.calls[i], time.Since(begin)
			c.kernel.Run(e.host, c.params, c.buffers)
			done(i, start, time.Since(begin))
		}
		return nil
	})
}

func (e *executable) Arena() engine.Memory    { return e.arena }
func (e *executable) HostTime() time.Duration { return 0 }
func (e *executable) Free()                   { e.calls = nil }
