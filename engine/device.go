// Package engine runs the kernels that package shaders declares. A Program is recorded
// once for its shapes, planned (offsets of activations, barriers between dependent
// dispatches), compiled by a Device and replayed each step. The engine is independent of
// any model.
package engine

import (
	"context"
	"time"

	"patchwork/shaders"
)

// Device is one backend's device. Its methods may be called from one goroutine
// at a time.
type Device interface {
	// Info describes the device.
	Info() Info

	// Allocate allocates memory of the given size in bytes; what names it in errors. Its
	// contents are zero.
	Allocate(bytes int64, what string) (Memory, error)

	// Write copies data to memory at a byte offset, before any later Run.
	Write(m Memory, offset int64, data []byte) error

	// Read copies memory at a byte offset into data, after every earlier Run.
	Read(m Memory, offset int64, data []byte) error

	// Compile makes a planned program ready to be run many times. Its temporaries are in
	// arena, a memory for each of the plan's segments, or in its own memories when
	// arena is nil. Programs that never need each other's temporaries can share an arena.
	Compile(p *Plan, arena []Memory) (Executable, error)

	// MemoryInUse returns the bytes allocated now, and the peak.
	MemoryInUse() (now, peak int64)

	// Close releases everything that was allocated on the device.
	Close() error
}

// Memory is an allocation on a device.
type Memory interface {
	Size() int64
	Free()
}

// Executable is a compiled program.
type Executable interface {
	// Run replays the program with the given step block and waits for its end. A
	// cancelled context stops it between submitted chunks.
	Run(ctx context.Context, step *[shaders.StepWords]uint32) error

	// Profile replays the program and measures every dispatch.
	Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]Timing, error)

	// Arena returns the memories of the plan's temporaries, one per segment.
	Arena() []Memory

	// HostTime is the time that the last Run spent before the device had work.
	HostTime() time.Duration

	// Free releases what the executable holds, its own arena included.
	Free()
}

// Timing is one measured dispatch.
type Timing struct {
	Dispatch int           // index into Plan.Dispatches
	Start    time.Duration // since the start of the replay
	Duration time.Duration
}

// Info describes a device and its limits.
type Info struct {
	Device   string        `json:"device"` // "cpu", "vulkan:0": as --device takes it
	Name     string        `json:"name"`
	Kind     string        `json:"kind"` // "cpu", "discrete", "integrated", "virtual", "software", "null", "other"
	Driver   string        `json:"driver"`
	API      string        `json:"api,omitempty"` // API version
	Class    shaders.Class `json:"-"`
	Memory   int64         `json:"memory_bytes"`
	Limits   Limits        `json:"limits"`
	Features []string      `json:"features"`
	// Matrices are the cooperative matrix multiplications that the device supports.
	Matrices []shaders.Matrix `json:"cooperative_matrices,omitempty"`
	// Choices are the variants that were tuned for the device; see Choose.
	Choices shaders.Choices `json:"-"`
}

// SubgroupShuffle is the name in Info.Features of subgroup shuffles in compute shaders.
const SubgroupShuffle = "subgroupShuffle"

// Limits of a device, respected by the planner and the variants.
type Limits struct {
	MaxBindingBytes    int64 `json:"max_binding_bytes"`    // largest range of a binding
	MaxBufferBytes     int64 `json:"max_buffer_bytes"`     // largest buffer, with its memory, that is guaranteed; 0 = any
	MaxAllocationBytes int64 `json:"max_allocation_bytes"` // largest single allocation that the driver promises
	MaxWorkgroupMemory int64 `json:"max_workgroup_memory_bytes"`
	MaxInvocations     int   `json:"max_workgroup_invocations"`
	SubgroupSize       int   `json:"subgroup_size"`
	MinSubgroupSize    int   `json:"min_subgroup_size,omitempty"` // that a shader can require; 0 = it cannot
	MaxSubgroupSize    int   `json:"max_subgroup_size,omitempty"`
}

// Null is the kind of a device whose driver only compiles shaders: it has no hardware and
// no memory, and runs nothing.
const Null = "null"

// Hardware reports whether the device is a GPU and not a rasteriser on the CPU.
func (i Info) Hardware() bool {
	return i.Kind == "discrete" || i.Kind == "integrated" || i.Kind == "virtual"
}
