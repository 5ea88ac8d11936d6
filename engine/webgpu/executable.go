//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// executable is a program with its pipelines and bind groups.
type executable struct {
	*gpu.Program[*memory, *Device]
	device *Device // nil once freed
	calls  []call
	ends   []int // of the chunks that are submitted together

	hostTime time.Duration
}

// Run encodes the program with the given step block, submits it in chunks and waits for
// its end. While the device works on a chunk, the next is encoded.
func (e *executable) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	begin := time.Now()
	if err := e.prepare(step); err != nil {
		return err
	}
	first := 0
	for i, end := range e.ends {
		if err := ctx.Err(); err != nil {
			if lost := e.device.wait(ctx); errors.Is(lost, engine.ErrDeviceLost) {
				err = lost
			}
			return err
		}
		err := e.device.submit(func(c *wgpu.CommandEncoder) error { return e.encode(c, first, end) })
		if err != nil {
			return fmt.Errorf("%s: %w", e.Plan.Program.Name, err)
		}
		if i == 0 {
			e.hostTime = time.Since(begin)
		}
		if first = end; i%chunksAhead == chunksAhead-1 || end == len(e.calls) {
			if err := e.device.wait(ctx); err != nil {
				return wrap(e.Plan.Program.Name, err)
			}
		}
	}
	return wrap(e.Plan.Program.Name, e.device.uncaught())
}

// chunksAhead bounds how many chunks are submitted before a wait, so that a cancelled run
// ends soon.
const chunksAhead = 2

// prepare checks that no memory of the program was freed, and writes the step block.
func (e *executable) prepare(step *[shaders.StepWords]uint32) error {
	if e.device == nil {
		return gpu.ErrFreed
	}
	if err := e.device.usable(); err != nil {
		return fmt.Errorf("%s: %w", e.Plan.Program.Name, err)
	}
	if err := e.CheckMemory(); err != nil {
		return fmt.Errorf("%s: %w", e.Plan.Program.Name, err)
	}
	return e.device.Write(e.Step, 0, gpu.StepBlock(step))
}

// encode records dispatches first to end as one compute pass; WebGPU adds the barriers
// between them.
func (e *executable) encode(c *wgpu.CommandEncoder, first, end int) error {
	p := c.BeginComputePass(nil)
	defer p.Release()
	for i := first; i < end; i++ {
		call := &e.calls[i]
		p.SetBindGroup(0, call.group, nil)
		for pass, grid := range call.Grids {
			if grid[0] > 0 && grid[1] > 0 && grid[2] > 0 {
				p.SetPipeline(call.pipelines[pass])
				p.DispatchWorkgroups(grid[0], grid[1], grid[2])
			}
		}
	}
	return p.End()
}

// Arena returns the memories of the plan's temporaries.
func (e *executable) Arena() []engine.Memory { return e.Temporaries }

// HostTime is the time that the last Run took before the device had its first work; later
// host work overlaps with the device.
func (e *executable) HostTime() time.Duration { return e.hostTime }

// Free releases what the executable holds, its own arena included. It may be
// called again.
func (e *executable) Free() {
	if e.device != nil {
		delete(e.device.live, e)
		e.release()
	}
}

func (e *executable) release() {
	for i := range e.calls {
		if g := e.calls[i].group; g != nil && e.device.lost == nil {
			g.Release()
		}
	}
	e.Params.release()
	e.Step.release()
	e.FreeTemporaries()
	e.device = nil
}
