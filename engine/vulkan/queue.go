//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
)

// window is the number of submitted command buffers in flight: enough that the device
// never waits for the host, few enough that a cancelled run ends soon.
const window = 3

// batch holds the arguments of the calls of a replay, so that it allocates nothing. It is
// part of the Device and is not moved.
type batch struct {
	command vk.CommandBuffer
	fence   vk.Fence
	info    submitInfo
	args    [5]uintptr
}

// submit queues a command buffer; fence is signalled at its end.
func (d *Device) submit(command vk.CommandBuffer, fence vk.Fence) error {
	b := &d.batch
	b.command, b.fence = command, fence
	b.info = submitInfo{header: header{sType: vk.StructureTypeSubmitInfo}, commandCount: 1, commands: &b.command}
	b.args = [5]uintptr{id(d.handle), 1, uintptr(unsafe.Pointer(&b.fence))}
	r := d.procs.resetFences.call(b.args[:3]...)
	if err := check("vkResetFences", r); err != nil {
		return d.fail(err)
	}
	b.args = [5]uintptr{id(d.queue), 1, uintptr(unsafe.Pointer(&b.info)), id(fence)}
	d.busy = true
	r = d.procs.queueSubmit.call(b.args[:4]...)
	err := check("vkQueueSubmit", r)
	if errors.Is(err, engine.ErrOutOfMemory) {
		return err // nothing was submitted, the device is still usable
	}
	if err != nil {
		return d.fail(err)
	}
	return nil
}

// wait waits for a submitted command buffer. The device counts as lost when
// that takes longer than its timeout.
func (d *Device) wait(fence vk.Fence) error {
	b := &d.batch
	b.fence = fence
	b.args = [5]uintptr{id(d.handle), 1, uintptr(unsafe.Pointer(&b.fence)), 1, uintptr(d.timeout)}
	r := d.procs.waitForFences.call(b.args[:]...)
	if r == vk.Timeout {
		return d.fail(fmt.Errorf("it has not responded for %v: %w", d.timeout, engine.ErrDeviceLost))
	}
	if err := check("vkWaitForFences", r); err != nil {
		return d.fail(err)
	}
	return nil
}

// start submits command buffers in order, with at most window in flight, and returns when
// the last is submitted. With a cancelled context the rest is not submitted. It returns
// the time before the device had work.
func (d *Device) start(ctx context.Context, commands []vk.CommandBuffer) (host time.Duration, err error) {
	begin := time.Now()
	for i, command := range commands {
		if d.submitted-d.waited == window {
			if err := d.settle(d.waited + 1); err != nil {
				return 0, err
			}
		}
		if err := ctx.Err(); err != nil {
			return host, err
		}
		if err := d.submit(command, d.fences[d.submitted%window]); err != nil {
			return host, err
		}
		d.submitted++
		if i == 0 {
			host = time.Since(begin)
		}
	}
	return host, nil
}

// settle waits until the first n command buffers that start submitted have completed.
func (d *Device) settle(n int) error {
	for d.waited < n && d.lost == nil {
		if err := d.wait(d.fences[d.waited%window]); err != nil {
			return err
		}
		d.waited++
	}
	return d.lost
}

// newCommands allocates command buffers.
func (d *Device) newCommands(n int) ([]vk.CommandBuffer, error) {
	info := vk.CommandBufferAllocateInfo{
		SType:              vk.StructureTypeCommandBufferAllocateInfo,
		CommandPool:        d.commands,
		Level:              vk.CommandBufferLevelPrimary,
		CommandBufferCount: uint32(n),
	}
	defer info.Free()
	commands := make([]vk.CommandBuffer, n)
	return commands, check("vkAllocateCommandBuffers", vk.AllocateCommandBuffers(d.handle, &info, commands))
}

// freeCommands frees completed command buffers. Those of a lost device are kept: it may
// still be running them.
func (d *Device) freeCommands(commands []vk.CommandBuffer) {
	if len(commands) > 0 && d.lost == nil {
		vk.FreeCommandBuffers(d.handle, d.commands, uint32(len(commands)), commands)
	}
}

// record records a command buffer again.
func (d *Device) record(command vk.CommandBuffer, fill func(c vk.CommandBuffer)) error {
	info := vk.CommandBufferBeginInfo{SType: vk.StructureTypeCommandBufferBeginInfo}
	defer info.Free()
	if err := check("vkBeginCommandBuffer", vk.BeginCommandBuffer(command, &info)); err != nil {
		return err
	}
	fill(command)
	return check("vkEndCommandBuffer", vk.EndCommandBuffer(command))
}

// scope are the stages and accesses that a barrier orders.
type scope struct {
	from, to             vk.PipelineStageFlagBits
	fromAccess, toAccess vk.AccessFlagBits
}

const (
	compute     = vk.PipelineStageComputeShaderBit
	transfer    = vk.PipelineStageTransferBit
	shaderWrite = vk.AccessShaderWriteBit
	shaderBoth  = vk.AccessShaderReadBit | vk.AccessShaderWriteBit
	copyWrite   = vk.AccessTransferWriteBit
	copyBoth    = vk.AccessTransferReadBit | vk.AccessTransferWriteBit
)

var (
	betweenDispatches = scope{compute, compute, shaderWrite, shaderBoth}
	everything        = scope{compute | transfer, compute | transfer, shaderWrite | copyWrite, shaderBoth | copyBoth}
	toHost            = scope{compute | transfer, vk.PipelineStageHostBit, shaderWrite | copyWrite, vk.AccessHostReadBit}
)

// barrier records a global memory barrier.
func (d *Device) barrier(c vk.CommandBuffer, s scope) {
	b := memoryBarrier{header: header{sType: vk.StructureTypeMemoryBarrier}, from: s.fromAccess, to: s.toAccess}
	d.procs.cmdPipelineBarrier.call(id(c), uintptr(s.from), uintptr(s.to), 0, 1, uintptr(unsafe.Pointer(&b)), 0, 0, 0, 0)
}
