package cpu

import (
	"runtime"
	"unsafe"

	"patchwork/engine"
)

// memory is zeroed memory, aligned for vector loads. Large memories are outside Go's
// heap: in it a freed arena would stay until the next collection, and the collector would
// allow as much garbage as there are weights.
type memory struct {
	device  *Device
	data    []byte
	mapped  []byte // nil for a Go slice
	cleanup runtime.Cleanup
}

// mapFrom is the size from which memory is mapped.
const mapFrom = 1 << 20

// newMemory returns nil when the system is out of memory.
func (d *Device) newMemory(bytes int64) *memory {
	m := &memory{device: d}
	if bytes >= mapFrom && engine.CanMap {
		mapped, err := engine.MapMemory(bytes)
		if err != nil {
			return nil
		}
		m.data, m.mapped = mapped[:bytes:bytes], mapped
		m.cleanup = runtime.AddCleanup(m, engine.UnmapMemory, mapped)
	} else {
		words := make([]uint64, (bytes+engine.Alignment)/8+1)
		raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
		skip := int64(-address(raw) % engine.Alignment)
		m.data = raw[skip : skip+bytes : skip+bytes]
	}
	largePages(m.data)
	d.Add(bytes)
	return m
}

func address(data []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(data))) }

func (m *memory) Size() int64 { return int64(len(m.data)) }

// Free may be called again.
func (m *memory) Free() {
	m.device.Add(-m.Size())
	m.data = nil
	if m.mapped != nil {
		m.cleanup.Stop()
		engine.UnmapMemory(m.mapped)
		m.mapped = nil
	}
}
