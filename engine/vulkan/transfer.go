//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"context"
	"fmt"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// staging is a ring of host-visible buffers for writing and reading memory that is not
// host-visible: while the device copies one, the host fills or reads the next. It is made
// on first use.
type staging struct {
	slots []*slot
	next  int
}

const (
	stagingSlots = 6 // a batch's images, while the device works on the previous batch
	slotBytes    = 8 << 20
)

// slot is one buffer of the ring.
type slot struct {
	memory  *memory
	command vk.CommandBuffer
	fence   vk.Fence
	busy    bool
	out     []byte // destination of what the device copies to the slot
}

// Write copies data to memory at a byte offset, before any later Run.
func (d *Device) Write(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if mine.data != nil {
		if err := d.settle(d.submitted); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		copy(mine.data[offset:], data)
		return nil
	}
	for len(data) > 0 {
		s, err := d.takeSlot()
		if err != nil {
			return err
		}
		n := copy(s.memory.data, data)
		if err := d.copySlot(s, s.memory, mine, bufferCopy{0, uint64(offset), uint64(n)}); err != nil {
			return err
		}
		offset, data = offset+int64(n), data[n:]
	}
	return nil
}

// Read copies memory at a byte offset into data, after every earlier Run.
func (d *Device) Read(m engine.Memory, offset int64, data []byte) error {
	if err := d.Fetch(m, offset, data); err != nil {
		return err
	}
	return d.drain()
}

// Fetch is Read without the wait: data is valid after the next Read.
func (d *Device) Fetch(m engine.Memory, offset int64, data []byte) error {
	mine, err := d.transferable(m, offset, len(data))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if mine.data != nil {
		if err := d.settle(d.submitted); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		copy(data, mine.data[offset:])
		return nil
	}
	for len(data) > 0 {
		s, err := d.takeSlot()
		if err != nil {
			return err
		}
		n := min(len(data), slotBytes)
		s.out = data[:n]
		if err := d.copySlot(s, mine, s.memory, bufferCopy{uint64(offset), 0, uint64(n)}); err != nil {
			return err
		}
		offset, data = offset+int64(n), data[n:]
	}
	return nil
}

// WaitFetched waits until the data of every earlier Fetch is valid.
func (d *Device) WaitFetched() error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.drain()
}

// drain waits for all copies in flight.
func (d *Device) drain() error {
	for range d.staging.slots {
		if _, err := d.takeSlot(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) transferable(m engine.Memory, offset int64, n int) (*memory, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	return gpu.OwnRange[*memory](d, d.info.Device, m, offset, n)
}

// takeSlot returns the next slot once the device is done with it and what was read has
// been copied to its destination.
func (d *Device) takeSlot() (*slot, error) {
	if len(d.staging.slots) == 0 {
		if err := d.staging.open(d); err != nil {
			return nil, err
		}
	}
	s := d.staging.slots[d.staging.next]
	d.staging.next = (d.staging.next + 1) % len(d.staging.slots)
	if !s.busy {
		return s, nil
	}
	if err := d.wait(s.fence); err != nil {
		return nil, err
	}
	copy(s.out, s.memory.data)
	s.busy, s.out = false, nil
	return s, nil
}

// copySlot submits one copy from or to a slot.
func (d *Device) copySlot(s *slot, from, to *memory, region bufferCopy) error {
	err := d.record(s.command, func(c vk.CommandBuffer) {
		d.barrier(c, everything)
		d.procs.cmdCopyBuffer.call(id(c), id(from.buffer), id(to.buffer), 1, uintptr(unsafe.Pointer(&region)))
		d.barrier(c, toHost)
	})
	if err != nil {
		return err
	}
	if err := d.submit(s.command, s.fence); err != nil {
		return err
	}
	s.busy = true
	return nil
}

func (r *staging) open(d *Device) (err error) {
	commands, err := d.newCommands(stagingSlots)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.close(d)
		}
	}()
	for _, c := range commands {
		s := &slot{command: c}
		r.slots = append(r.slots, s)
		if s.memory, err = d.allocate(slotBytes, "staging", stagingMemory); err != nil {
			return err
		}
		if s.fence, err = d.newFence(); err != nil {
			return err
		}
	}
	return nil
}

func (r *staging) close(d *Device) {
	for _, s := range r.slots {
		s.memory.destroy()
		d.freeCommands([]vk.CommandBuffer{s.command})
		vk.DestroyFence(d.handle, s.fence, nil)
	}
	r.slots = nil
}

// zero clears memory on the device.
func (d *Device) zero(m *memory) error {
	commands, err := d.newCommands(1)
	if err != nil {
		return err
	}
	defer d.freeCommands(commands)
	err = d.record(commands[0], func(c vk.CommandBuffer) {
		vk.CmdFillBuffer(c, m.buffer, 0, vk.DeviceSize(vk.WholeSize), 0)
		d.barrier(c, everything)
		d.barrier(c, toHost)
	})
	if err != nil {
		return err
	}
	if _, err := d.start(context.Background(), commands); err != nil {
		return err
	}
	return d.settle(d.submitted)
}
