package shaders

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Requirements are what a variant requires of a device's workgroups.
type Requirements struct {
	Invocations     int   `json:"invocations"`                      // of the largest workgroup
	WorkgroupMemory int64 `json:"workgroup_memory_bytes,omitempty"` // that a workgroup shares
	Subgroup        bool  `json:"subgroup,omitempty"`               // the workgroup must be one subgroup
}

// MetBy reports whether a device meets the requirements.
func (n Requirements) MetBy(t DeviceCaps) bool {
	return (t.Invocations == 0 || n.Invocations <= t.Invocations) &&
		(t.WorkgroupMemory == 0 || n.WorkgroupMemory <= t.WorkgroupMemory) &&
		(!n.Subgroup || n.Invocations == t.Subgroup)
}

// Requirements returns what the variant requires of a device: the manifest's entry of a
// committed module, else what the module itself tells.
func (k *Kernel) Requirements(v *Variant) (Requirements, error) {
	id := k.ID(v)
	n, err := v.requirements(id)
	if err != nil {
		return n, fmt.Errorf("kernel %s: %w", id, err)
	}
	if v.Cooperative != nil {
		n.Invocations, n.Subgroup = 0, false // checked by Cooperative.fits
	}
	return n, nil
}

func (v *Variant) requirements(id string) (Requirements, error) {
	if v.module != nil {
		return ReadRequirements(v.module)
	}
	manifest, err := committedManifest()
	if err != nil {
		return Requirements{}, err
	}
	m, ok := manifest.Modules[id]
	if !ok {
		return Requirements{}, errors.New("has no SPIR-V; run make shaders")
	}
	return m.Requires, nil
}

var committedManifest = sync.OnceValues(ReadManifest)

// Opcodes and numbers of the SPIR-V specification, sections 3.6 to 3.49.
const (
	spirvMagic        = 0x07230203
	opCapability      = 17
	opExecutionMode   = 16
	opTypeInt         = 21
	opTypeFloat       = 22
	opTypeVector      = 23
	opTypeArray       = 28
	opTypeStruct      = 30
	opTypePointer     = 32
	opConstant        = 43
	opVariable        = 59
	modeLocalSize     = 17
	storageWorkgroup  = 4
	subgroupFirst     = 61 // GroupNonUniform
	subgroupLast      = 68 // GroupNonUniformQuad
	spirvHeaderLength = 5
)

var errSPIRV = errors.New("its SPIR-V is damaged")

// ReadRequirements walks a module's instructions. Types are declared before they are
// used, so that one pass is enough.
func ReadRequirements(module []byte) (Requirements, error) {
	if len(module) < 4*spirvHeaderLength || len(module)%4 != 0 || binary.LittleEndian.Uint32(module) != spirvMagic {
		return Requirements{}, errSPIRV
	}
	words := make([]uint32, len(module)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(module[4*i:])
	}
	var n Requirements
	t := typeSizes{bytes: map[uint32]int64{}, constants: map[uint32]int64{}, pointees: map[uint32]uint32{}}
	for at := spirvHeaderLength; at < len(words); {
		length := int(words[at] >> 16)
		if length == 0 || at+length > len(words) {
			return Requirements{}, errSPIRV
		}
		op, args := words[at]&0xffff, words[at+1:at+length]
		switch {
		case op == opCapability && len(args) == 1:
			n.Subgroup = n.Subgroup || args[0] >= subgroupFirst && args[0] <= subgroupLast
		case op == opExecutionMode && len(args) == 5 && args[1] == modeLocalSize:
			n.Invocations = max(n.Invocations, int(args[2]*args[3]*args[4]))
		case op == opVariable && len(args) >= 3 && args[2] == storageWorkgroup:
			n.WorkgroupMemory += t.bytes[t.pointees[args[0]]]
		default:
			t.declare(op, args)
		}
		at += length
	}
	return n, nil
}

// typeSizes are the types and constants of a module, by their ids.
type typeSizes struct {
	bytes, constants map[uint32]int64
	pointees         map[uint32]uint32
}

func (t typeSizes) declare(op uint32, args []uint32) {
	switch {
	case (op == opTypeInt || op == opTypeFloat) && len(args) >= 2:
		t.bytes[args[0]] = int64(args[1] / 8)
	case op == opTypeVector && len(args) == 3:
		t.bytes[args[0]] = t.bytes[args[1]] * int64(args[2])
	case op == opTypeArray && len(args) == 3:
		t.bytes[args[0]] = t.bytes[args[1]] * t.constants[args[2]]
	case op == opTypeStruct && len(args) >= 1:
		for _, member := range args[1:] {
			t.bytes[args[0]] += t.bytes[member]
		}
	case op == opTypePointer && len(args) == 3:
		t.pointees[args[0]] = args[2]
	case op == opConstant && len(args) == 3:
		t.constants[args[1]] = int64(args[2])
	}
}
