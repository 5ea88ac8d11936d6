package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"patchwork/shaders"
)

// Caps are the properties of the device that the choice of a kernel's variant depends on.
func (i Info) Caps() shaders.DeviceCaps {
	t := shaders.DeviceCaps{Class: i.Class, Invocations: i.Limits.MaxInvocations, WorkgroupMemory: i.Limits.MaxWorkgroupMemory,
		Features: i.Features, Matrices: i.Matrices, Tuned: i.Choices}
	if slices.Contains(i.Features, SubgroupShuffle) {
		t.Subgroup = i.Limits.SubgroupSize
	}
	return t
}

// Choose returns the variant of a kernel that the device runs with these parameters and
// this storage, and whether tuning chose it; nil when no variant runs on the device.
// Every backend that has variants calls it when it compiles.
func (i Info) Choose(k *shaders.Kernel, params any, s shaders.Storage) (v *shaders.Variant, tuned bool) {
	return k.ChooseFor(params, s, i.Caps())
}

// Tunable is a device whose kernels come in variants.
type Tunable interface {
	Device
	// SetChoices makes later calls of Compile prefer these variants.
	SetChoices(c shaders.Choices)
}

// CompileReporter is a device whose driver may take long to compile kernels.
type CompileReporter interface {
	Device
	// OnSlowCompile makes Compile call report, from its own goroutine and once, when
	// compiling has taken a second; kernels is the number of pipelines that it makes.
	OnSlowCompile(report func(kernels int))
}

// Arithmetic names what determines the bits of results apart from the program: the driver
// and the tuned variants.
func (i Info) Arithmetic() string {
	if len(i.Choices) == 0 {
		return i.Driver
	}
	h := sha256.New()
	for _, bucket := range slices.Sorted(maps.Keys(i.Choices)) {
		fmt.Fprintf(h, "%s: %s\n", bucket, i.Choices[bucket])
	}
	return i.Driver + ", kernels tuned " + hex.EncodeToString(h.Sum(nil)[:4])
}
