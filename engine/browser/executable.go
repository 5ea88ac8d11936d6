//go:build js

package browser

import (
	"context"
	"fmt"
	"syscall/js"
	"time"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// executable is a program with its pipelines and bind groups.
type executable struct {
	*gpu.Program[*memory, *Device]
	device *Device // nil once freed
	calls  []call
	bound  js.Value // the calls with their bind groups, for encode of browser.js
	ends   []int    // of the chunks that are submitted together

	hostTime time.Duration
}

// chunksAhead bounds how many chunks are submitted before a wait, so that a cancelled run
// ends soon.
const chunksAhead = 2

// Run encodes the program with the given step block, submits it in chunks and waits for its
// end. While the device works on a chunk, the next is encoded.
func (e *executable) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	return e.replay(ctx, step, true)
}

// Start is Run without the wait for the last chunks.
func (e *executable) Start(ctx context.Context, step *[shaders.StepWords]uint32) error {
	return e.replay(ctx, step, false)
}

func (e *executable) replay(ctx context.Context, step *[shaders.StepWords]uint32, wait bool) error {
	begin := time.Now()
	if err := e.prepare(step); err != nil {
		return err
	}
	first := 0
	for i, end := range e.ends {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.device.submit(func(encoder js.Value) { e.encode(encoder, nil, first, end) }); err != nil {
			return e.named(err)
		}
		if i == 0 {
			e.hostTime = time.Since(begin)
		}
		last := end == len(e.calls)
		if first = end; !last && i%chunksAhead == chunksAhead-1 || last && wait {
			if err := e.device.wait(ctx); err != nil {
				return e.named(err)
			}
		}
	}
	return e.named(e.device.uncaught())
}

func (e *executable) named(err error) error { return wrap(e.Plan.Program.Name, err) }

// prepare checks that no memory of the program was freed, and writes the step block.
func (e *executable) prepare(step *[shaders.StepWords]uint32) error {
	if e.device == nil {
		return gpu.ErrFreed
	}
	if err := e.device.usable(); err != nil {
		return e.named(err)
	}
	if err := e.CheckMemory(); err != nil {
		return e.named(err)
	}
	return e.device.Write(e.Step, 0, gpu.StepBlock(step))
}

// submit encodes and submits one command buffer.
func (d *Device) submit(record func(encoder js.Value)) error {
	err := try(func() {
		encoder := d.device.Call("createCommandEncoder")
		record(encoder)
		d.queue.Call("submit", []any{encoder.Call("finish")})
	})
	if err != nil {
		return fmt.Errorf("%s: %w", d.info.Device, err)
	}
	return nil
}

// encode records dispatches first to end as one compute pass; WebGPU adds the barriers
// between them.
func (e *executable) encode(encoder js.Value, descriptor map[string]any, first, end int) {
	script.Call("encode", encoder, descriptor, e.bound, first, end)
}

// Arena returns the memories of the plan's temporaries.
func (e *executable) Arena() []engine.Memory { return e.Temporaries }

// HostTime is the time that the last Run took before the device had its first work; later
// host work overlaps with the device.
func (e *executable) HostTime() time.Duration { return e.hostTime }

// Free releases what the executable holds, its own arena included. It may be called again.
func (e *executable) Free() {
	if e.device != nil {
		delete(e.device.live, e)
		e.release()
	}
}

func (e *executable) release() {
	e.Params.release()
	e.Step.release()
	e.FreeTemporaries()
	e.device, e.calls, e.bound = nil, nil, js.Undefined()
}
