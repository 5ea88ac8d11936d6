// Package engine runs the kernels that package shaders declares. A Program is
// recorded once for its shapes, planned (where activations lie in memory, which
// barriers dependence asks for), compiled by a Device and replayed each step.
// The engine knows no model.
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

	// Allocate reserves memory of the given size in bytes; what names it in
	// errors. Its contents are zero.
	Allocate(bytes int64, what string) (Memory, error)

	// Write copies data to memory at a byte offset, before any later Run.
	Write(m Memory, offset int64, data []byte) error

	// Read copies memory at a byte offset into data, after every earlier Run.
	Read(m Memory, offset int64, data []byte) error

	// Compile makes a planned program ready to be run many times. Its
	// temporaries lie in arena, a memory for each of the plan's segments, or in
	// memories of its own when arena is nil: programs that never need each
	// other's temporaries can share them.
	Compile(p *Plan, arena []Memory) (Executable, error)

	// MemoryInUse returns the bytes allocated now, and the most there ever were.
	MemoryInUse() (now, peak int64)

	// Close releases everything that the device has handed out.
	Close() error
}

// Memory is an allocation on a device.
type Memory interface {
	Size() int64
	Free()
}

// Executable is a compiled program.
type Executable interface {
	// Run replays the program with the given step block and waits for its end.
	// A cancelled context stops it between submitted pieces.
	Run(ctx context.Context, step *[shaders.StepWords]uint32) error

	// Profile replays the program and measures every dispatch.
	Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]Timing, error)

	// Arena are the memories that hold the plan's temporaries, one a segment.
	Arena() []Memory

	// HostTime is the time the last Run spent outside the device.
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
	// Matrices are the products of cooperative matrices that the device computes in
	// one instruction.
	Matrices []shaders.Matrix `json:"cooperative_matrices,omitempty"`
	// Choices are the variants that were tuned for the device; see Choose.
	Choices shaders.Choices `json:"-"`
}

// SubgroupShuffle names the feature that a subgroup's invocations can hand each
// other values, in Info.Features.
const SubgroupShuffle = "subgroupShuffle"

// Limits of a device that the planner and the variants respect.
type Limits struct {
	MaxBindingBytes    int64 `json:"max_binding_bytes"`    // largest range that one binding sees
	MaxBufferBytes     int64 `json:"max_buffer_bytes"`     // largest buffer, with its memory, that can be relied on; 0 = any
	MaxAllocationBytes int64 `json:"max_allocation_bytes"` // largest single allocation that the driver promises
	MaxWorkgroupMemory int64 `json:"max_workgroup_memory_bytes"`
	MaxInvocations     int   `json:"max_workgroup_invocations"`
	SubgroupSize       int   `json:"subgroup_size"`
	MinSubgroupSize    int   `json:"min_subgroup_size,omitempty"` // that a shader can ask for; 0 = it cannot
	MaxSubgroupSize    int   `json:"max_subgroup_size,omitempty"`
}

// Null is the kind of a device whose driver only compiles: it has no hardware and no
// memory, and runs nothing.
const Null = "null"

// Hardware says whether the device is a GPU and not a rasteriser on the CPU.
func (i Info) Hardware() bool {
	return i.Kind == "discrete" || i.Kind == "integrated" || i.Kind == "virtual"
}
