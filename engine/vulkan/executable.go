//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"context"
	"fmt"
	"time"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// executable is a program recorded into command buffers.
type executable struct {
	*gpu.Program[*memory, *Device]
	device *Device // nil once freed
	calls  []call
	pool   vk.DescriptorPool

	commands []vk.CommandBuffer // to be submitted in this order
	ends     int                // value of submitted after the last replay
	hostTime time.Duration
	profile  *profile // made by the first call of Profile
}

// Run replays the program with the given step block and waits for its end.
func (e *executable) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	begin := time.Now()
	if err := e.prepare(step); err != nil {
		return err
	}
	return e.replay(ctx, begin, e.commands)
}

// Start is Run without the wait: later calls on the device are ordered after it.
func (e *executable) Start(ctx context.Context, step *[shaders.StepWords]uint32) error {
	begin := time.Now()
	if err := e.prepare(step); err != nil {
		return err
	}
	return e.begin(ctx, begin, e.commands)
}

// replay runs command buffers to their end.
func (e *executable) replay(ctx context.Context, begin time.Time, commands []vk.CommandBuffer) error {
	err := e.begin(ctx, begin, commands)
	if settled := e.device.settle(e.ends); settled != nil && err == nil {
		err = fmt.Errorf("%s: %w", e.Plan.Program.Name, settled)
	}
	return err
}

// begin submits command buffers and records the time spent outside the device.
func (e *executable) begin(ctx context.Context, begin time.Time, commands []vk.CommandBuffer) error {
	before := time.Since(begin)
	host, err := e.device.start(ctx, commands)
	e.hostTime, e.ends = before+host, e.device.submitted
	if err != nil {
		return fmt.Errorf("%s: %w", e.Plan.Program.Name, err)
	}
	return nil
}

// prepare checks that no memory of the program was freed, and writes the step block; the
// submission makes it visible to the device.
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
	// An earlier replay may still read the step block.
	if err := e.device.settle(e.ends); err != nil {
		return fmt.Errorf("%s: %w", e.Plan.Program.Name, err)
	}
	copy(e.Step.data, gpu.StepBlock(step))
	return nil
}

// Arena returns the memories of the plan's temporaries.
func (e *executable) Arena() []engine.Memory { return e.Temporaries }

// HostTime is the time that the last Run took before the device had its first work; later
// host work overlaps with the device.
func (e *executable) HostTime() time.Duration { return e.hostTime }

// Free releases what the executable holds, its own arena included. It may be
// called again.
func (e *executable) Free() {
	if e.device == nil {
		return
	}
	delete(e.device.live, e)
	e.release()
}

func (e *executable) release() {
	d := e.device
	e.device = nil
	if d.settle(e.ends) != nil { // a lost device may still use it
		return
	}
	if e.profile != nil {
		vk.DestroyQueryPool(d.handle, e.profile.queries, nil)
		d.freeCommands(e.profile.commands)
	}
	d.freeCommands(e.commands)
	vk.DestroyDescriptorPool(d.handle, e.pool, nil)
	e.Params.destroy()
	e.Step.destroy()
	e.FreeTemporaries()
}
