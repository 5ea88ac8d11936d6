//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"errors"
	"fmt"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

const (
	deviceLocal = vk.MemoryPropertyDeviceLocalBit
	hostVisible = vk.MemoryPropertyHostVisibleBit | vk.MemoryPropertyHostCoherentBit
	hostCached  = vk.MemoryPropertyHostCachedBit
)

// Preferences for a memory's properties, best first. Device memory is mapped
// only where the host caches it: uncached reads are slower than a copy.
var (
	deviceMemory  = []vk.MemoryPropertyFlagBits{deviceLocal, 0}
	mappedMemory  = []vk.MemoryPropertyFlagBits{deviceLocal | hostVisible | hostCached}
	blockMemory   = []vk.MemoryPropertyFlagBits{deviceLocal | hostVisible, hostVisible} // written by the host, read by shaders
	stagingMemory = []vk.MemoryPropertyFlagBits{hostVisible | hostCached, hostVisible}
)

// memoryKind is the first memory type allowed by bits with one of the wanted sets of
// properties.
func (p *physical) memoryKind(bits uint32, wanted []vk.MemoryPropertyFlagBits) (uint32, bool) {
	for _, want := range wanted {
		for t := range p.memory.typeCount {
			if bits&(1<<t) != 0 && p.memory.types[t].flags&want == want {
				return t, true
			}
		}
	}
	return 0, false
}

// canMap reports whether there is device memory that is host-visible and cached.
func (p *physical) canMap() bool {
	_, ok := p.memoryKind(^uint32(0), mappedMemory)
	return ok
}

// memory is one allocation with one buffer.
type memory struct {
	device *Device // nil once freed
	size   int64
	buffer vk.Buffer
	handle vk.DeviceMemory
	data   []byte // nil where it is not host-visible
}

// Size is the number of bytes.
func (m *memory) Size() int64 { return m.size }

// Owner is the memory's device, nil once it is freed.
func (m *memory) Owner() *Device { return m.device }

// Free returns the memory to the device. It may be called again.
func (m *memory) Free() {
	if m.device == nil {
		return
	}
	d := m.device
	delete(d.live, m)
	if d.settle(d.submitted) == nil && d.drain() == nil { // a lost device may still use it
		m.destroy()
	}
	m.device = nil
}

func (m *memory) destroy() {
	if m == nil || m.device == nil {
		return
	}
	m.device.Add(-m.size)
	vk.DestroyBuffer(m.device.handle, m.buffer, nil)
	vk.FreeMemory(m.device.handle, m.handle, nil) // unmaps it too
	m.device, m.data = nil, nil
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
	wanted := deviceMemory
	if d.mapped {
		wanted = mappedMemory
	}
	m, err := d.allocate(size, what, wanted)
	if err != nil {
		return nil, err
	}
	if err := d.zero(m); err != nil {
		m.Free() // unless a lost device is still writing to it
		return nil, err
	}
	d.live[m] = struct{}{}
	return m, nil
}

// allocate allocates memory with the wanted properties and maps it if they include
// host-visible. Its contents are undefined.
func (d *Device) allocate(size int64, what string, wanted []vk.MemoryPropertyFlagBits) (_ *memory, err error) {
	kind, ok := d.physical.memoryKind(^uint32(0), wanted)
	if !ok {
		return nil, d.noMemoryFor(what)
	}
	heap := d.physical.memory.types[kind].heap
	// A driver may allocate more at once than its maxMemoryAllocationSize; it is tried,
	// but relied on only with NVIDIA's. maxBufferSize is a hard limit.
	if free := min(d.free(heap), d.physical.limits.bufferBytes); size > free {
		return nil, &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size, Available: free}
	}
	m := &memory{device: d, size: size}
	d.Add(size)
	defer func() {
		if err != nil {
			m.destroy()
			err = d.outOfMemory(err, what, size, heap)
		}
	}()
	if m.buffer, err = d.newBuffer(size); err != nil {
		return nil, err
	}
	var needs vk.MemoryRequirements
	vk.GetBufferMemoryRequirements(d.handle, m.buffer, &needs)
	defer needs.Free()
	needs.Deref()
	if kind, ok = d.physical.memoryKind(needs.MemoryTypeBits, wanted); !ok {
		return nil, d.noMemoryFor(what)
	}
	if m.handle, err = d.newMemory(needs.Size, kind); err != nil {
		return nil, err
	}
	if err := check("vkBindBufferMemory", vk.BindBufferMemory(d.handle, m.buffer, m.handle, 0)); err != nil {
		return nil, err
	}
	if wanted[0]&hostVisible == 0 {
		return m, nil
	}
	return m, m.mapAll()
}

func (d *Device) newBuffer(size int64) (buffer vk.Buffer, err error) {
	info := vk.BufferCreateInfo{
		SType: vk.StructureTypeBufferCreateInfo,
		Size:  vk.DeviceSize((size + 3) / 4 * 4),
		Usage: vk.BufferUsageFlags(vk.BufferUsageStorageBufferBit | vk.BufferUsageUniformBufferBit |
			vk.BufferUsageTransferSrcBit | vk.BufferUsageTransferDstBit),
	}
	defer info.Free()
	err = check("vkCreateBuffer", vk.CreateBuffer(d.handle, &info, nil, &buffer))
	return buffer, err
}

func (d *Device) newMemory(size vk.DeviceSize, kind uint32) (handle vk.DeviceMemory, err error) {
	info := memoryAllocateInfo{header: header{sType: vk.StructureTypeMemoryAllocateInfo}, size: uint64(size), kind: kind}
	r := d.procs.allocateMemory.call(id(d.handle), uintptr(unsafe.Pointer(&info)), 0, uintptr(unsafe.Pointer(&handle)))
	return handle, check("vkAllocateMemory", r)
}

func (d *Device) noMemoryFor(what string) error {
	return fmt.Errorf("%s has no kind of memory for %s: %w", d.info.Device, what, engine.ErrUnsupported)
}

func (m *memory) mapAll() error {
	var data unsafe.Pointer
	err := check("vkMapMemory", vk.MapMemory(m.device.handle, m.handle, 0, vk.DeviceSize(vk.WholeSize), 0, &data))
	if err != nil {
		return err
	}
	m.data = unsafe.Slice((*byte)(data), m.size)
	return nil
}

// free is how many bytes of a heap this process may still allocate.
func (d *Device) free(heap uint32) int64 {
	_, free := d.instance.readHeaps(d.physical)
	return signed(free[heap])
}

// outOfMemory adds numbers to an out-of-memory error of the driver.
func (d *Device) outOfMemory(err error, what string, size int64, heap uint32) error {
	if errors.Is(err, engine.ErrOutOfMemory) {
		return &engine.OutOfMemoryError{Device: d.info.Device, What: what, Asked: size, Available: d.free(heap)}
	}
	return err
}

// own returns a memory of this device, or an error for a foreign or freed one.
func (d *Device) own(m engine.Memory) (*memory, error) { return gpu.Own[*memory](d, d.info.Device, m) }
