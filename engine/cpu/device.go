// Package cpu runs programs on the CPU by the kernels' CPU forms on all cores. Matmuls
// use our own assembly where there is one for the processor, else OpenBLAS where its
// library is installed, else plain Go.
package cpu

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// oneThread: WebAssembly has one thread, whatever is asked for, and goroutines that are not preempted.
const oneThread = runtime.GOARCH == "wasm"

// Device is the CPU as an engine device.
type Device struct {
	engine.MemoryStats
	host *host
}

// Open returns the CPU device with the given number of threads, or one per core when
// threads is 0.
func Open(threads int) *Device {
	if threads <= 0 || oneThread {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{host: newHost(threads, bestMatmul())}
}

// Info describes the CPU; Driver is the matmul implementation.
func (d *Device) Info() engine.Info {
	return engine.Info{
		Device: "cpu", Name: cpuName(), Kind: "cpu", Driver: d.host.matmul.name, Class: shaders.Software,
		Memory:   engine.HostMemory(),
		Features: cpuFeatures(),
		Limits:   engine.Limits{MaxInvocations: d.host.threads},
	}
}

// Allocate reserves zeroed memory.
func (d *Device) Allocate(bytes int64, what string) (m engine.Memory, err error) {
	available := engine.HostMemory()
	if oneThread { // where Go's heap ends, the program does
		available = engine.FreeHostMemory()
	}
	if available > 0 && bytes > available {
		return nil, &engine.OutOfMemoryError{Device: "cpu", What: what, Asked: bytes, Available: available}
	}
	allocated := d.newMemory(bytes)
	if allocated == nil {
		return nil, &engine.OutOfMemoryError{Device: "cpu", What: what, Asked: bytes, Available: engine.HostMemory()}
	}
	return allocated, nil
}

// Write copies data into memory.
func (d *Device) Write(m engine.Memory, offset int64, data []byte) error {
	at, err := within(m, offset, int64(len(data)))
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	copy(at, data)
	runtime.KeepAlive(m)
	return nil
}

// Read copies memory into data.
func (d *Device) Read(m engine.Memory, offset int64, data []byte) error {
	at, err := within(m, offset, int64(len(data)))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	copy(data, at)
	runtime.KeepAlive(m)
	return nil
}

// HostBytes returns a range of memory itself.
func (d *Device) HostBytes(m engine.Memory, offset, bytes int64) ([]byte, error) {
	return within(m, offset, bytes)
}

// within returns a range of memory, or an error when it is out of range or the memory was
// freed or belongs to another device.
func within(m engine.Memory, offset, bytes int64) ([]byte, error) {
	mine, ok := m.(*memory)
	switch {
	case !ok:
		return nil, fmt.Errorf("cpu: %T is not memory of this device", m)
	case mine.data == nil:
		return nil, errFreed
	case offset < 0 || bytes < 0 || offset > mine.Size()-bytes:
		return nil, fmt.Errorf("cpu: %d bytes at %d of memory of %d bytes", bytes, offset, mine.Size())
	}
	return mine.data[offset : offset+bytes : offset+bytes], nil
}

var errFreed = errors.New("cpu: memory or a program was used after it was freed")

// Close has nothing to release.
func (d *Device) Close() error { return nil }

// Compile resolves every view of the plan to a slice.
func (d *Device) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	if b := p.Unplaced(); b != nil {
		return nil, fmt.Errorf("%s: buffer %q has no memory", p.Program.Name, b.Label)
	}
	e := &executable{host: d.host, plan: p, name: p.Program.Name, calls: make([]call, len(p.Dispatches))}
	if arena == nil {
		own, err := engine.AllocateSegments(d, "activations", p.Arena)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Program.Name, err)
		}
		arena, e.ownArena = own, true
	}
	if err := p.CheckArena(arena); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Program.Name, err)
	}
	e.arena = arena
	for i, dispatch := range p.Dispatches {
		buffers := make(shaders.Buffers, len(dispatch.Views))
		for j, v := range dispatch.Views {
			b, err := e.slice(engine.Resolve(v))
			if err != nil {
				return nil, fmt.Errorf("%s: dispatch %d (%s), buffer %q: %w", p.Program.Name, i, dispatch.Label, v.Buffer.Label, err)
			}
			buffers[j] = b
		}
		e.calls[i] = call{dispatch.Kernel, dispatch.Params, buffers, dispatch.Storage}
	}
	return e, nil
}

type call struct {
	kernel  *shaders.Kernel
	params  any
	buffers shaders.Buffers
	storage shaders.Storage
}

type executable struct {
	host     *host
	plan     *engine.Plan
	name     string
	arena    []engine.Memory
	ownArena bool
	calls    []call
	uses     []*memory // must not have been freed when it runs
	freed    bool
	spin     spinPolicy
}

// slice returns the bytes of a view, nil for an absent one.
func (e *executable) slice(v engine.ResolvedView) ([]byte, error) {
	if v.Bytes == 0 {
		return nil, nil
	}
	where := v.Memory
	if v.Temp {
		where = e.arena[v.Segment]
	}
	b, err := within(where, v.Offset, v.Bytes)
	if err != nil {
		return nil, err
	}
	if m := where.(*memory); !slices.Contains(e.uses, m) {
		e.uses = append(e.uses, m)
	}
	return b, nil
}

// prepare checks that no memory of the calls was freed, and sets the step block.
func (e *executable) prepare(step *[shaders.StepWords]uint32) error {
	if e.freed || slices.ContainsFunc(e.uses, func(m *memory) bool { return m.data == nil }) {
		return fmt.Errorf("%s: %w", e.name, errFreed)
	}
	e.host.step = step[:]
	return nil
}

// Run runs the calls in order.
func (e *executable) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	return e.walk(ctx, step, func(int, time.Duration, time.Duration) {})
}

// Profile runs the calls in order and measures each.
func (e *executable) Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]engine.Timing, error) {
	timings := make([]engine.Timing, len(e.calls))
	err := e.walk(ctx, step, func(i int, start, end time.Duration) {
		timings[i] = engine.Timing{Dispatch: i, Start: start, Duration: end - start}
	})
	return e.plan.SumParts(timings), err
}

// walk runs the calls and calls done with the start and end of each.
func (e *executable) walk(ctx context.Context, step *[shaders.StepWords]uint32, done func(i int, start, end time.Duration)) error {
	if err := e.prepare(step); err != nil {
		return err
	}
	defer runtime.KeepAlive(e)
	return e.host.runProgram(&e.spin, func() error {
		begin := time.Now()
		for i := range e.calls {
			letOthersRun() // such as what cancels ctx
			if err := ctx.Err(); err != nil {
				return err
			}
			c, start := &e.calls[i], time.Since(begin)
			e.host.run(c)
			done(i, start, time.Since(begin))
		}
		return nil
	})
}

// Arena returns the memories of the plan's temporaries.
func (e *executable) Arena() []engine.Memory { return e.arena }

// HostTime is zero: the host is the device.
func (e *executable) HostTime() time.Duration { return 0 }

// Free releases the executable's own arena. It may be called again.
func (e *executable) Free() {
	if e.ownArena && !e.freed {
		engine.Free(e.arena)
	}
	e.freed, e.calls = true, nil
}
