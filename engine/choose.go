package engine

import "patchwork/shaders"

// Target is what the choice of a kernel's variant depends on.
func (i Info) Target() shaders.Target {
	return shaders.Target{Class: i.Class, Invocations: i.Limits.MaxInvocations, WorkgroupMemory: i.Limits.MaxWorkgroupMemory, Tuned: i.Choices}
}

// Choose returns the variant of a kernel that the device runs with these
// parameters, and whether tuning chose it; nil where none fits the device.
// Every backend that has variants calls it when it compiles.
func (i Info) Choose(k *shaders.Kernel, params any) (v *shaders.Variant, tuned bool) {
	return k.ChooseFor(params, i.Target())
}

// Tunable is a device whose kernels come in variants.
type Tunable interface {
	Device
	// SetChoices makes later calls of Compile prefer these variants.
	SetChoices(c shaders.Choices)
}
