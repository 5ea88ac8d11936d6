// Package shaders declares every compute kernel of the engine once: x.go, beside the
// shader x.wgsl, has its bindings, parameters, grid, CPU form, float64 reference, cost
// and test cases. The Vulkan, WebGPU and CPU backends, the conformance tests, the
// benchmarks and the SPIR-V generator all use that one declaration.
package shaders

import (
	"fmt"
	"reflect"
	"sort"

	"patchwork/shaders/half"
)

// Access is how a kernel uses a binding.
type Access int

const (
	Read Access = iota
	Write
	ReadWrite
)

// Type is the element type of a storage binding.
type Type int

const (
	F32 Type = iota
	I32
	U32
	BF16 // the upper half of a float32
	F16  // IEEE 754's binary16
)

// Size is the number of bytes of one element.
func (t Type) Size() int64 {
	if t.Half() {
		return 2
	}
	return 4
}

// Half reports whether the type is a float of 16 bits.
func (t Type) Half() bool { return t == BF16 || t == F16 }

func (t Type) String() string { return [...]string{"f32", "i32", "u32", "bf16", "f16"}[t] }

// Format is the format of a 16-bit type.
func (t Type) Format() half.Format {
	if t == BF16 {
		return half.BF16
	}
	return half.F16
}

// ParseType returns the float type of a name: "f32", "bf16" or "f16".
func ParseType(name string) (Type, bool) {
	for _, t := range []Type{F32, BF16, F16} {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// Binding is one storage buffer of a kernel. An optional binding that a call leaves out
// (an absent bias, say) is bound to a small dummy buffer; a parameter indicates its
// absence.
type Binding struct {
	Name       string
	Type       Type
	Access     Access
	Optional   bool
	Scratch    bool // working memory of the passes, added by Declare
	Recomputed bool // the reference computes the input itself instead of reading it
}

// Count is a number of rows that may change from step to step without a new recording:
// entry Slot of the step block minus Base, between 0 and Max. With Slot 0 it is always
// Max.
type Count struct {
	Max, Slot, Base uint32
}

// N is a Count that never changes.
func N(n int) Count { return Count{Max: uint32(n)} }

// At returns the number of rows under the given step block.
func (c Count) At(step []uint32) int {
	if c.Slot == 0 {
		return int(c.Max)
	}
	n := step[c.Slot]
	if n <= c.Base {
		return 0
	}
	return int(min(n-c.Base, c.Max))
}

// StepWords is the length of the step block: the small uniform buffer with the values
// that change from one replay of a program to the next.
const StepWords = 64

// Class is the kind of device that a variant is preferred on.
type Class int

const (
	Software   Class = iota // a rasteriser on the CPU: no shared memory, long rows per invocation
	Integrated              // small workgroups, shared memory with the CPU
	Discrete                // shared-memory tiles
)

// Cost is the work of one dispatch, for rooflines.
type Cost struct {
	Flops float64
	Bytes float64
}

// Kernel is a declared kernel with its parameter type erased; see Declare.
type Kernel struct {
	Name     string
	Bindings []Binding
	Variants []Variant

	scratch   func(params any) int64
	axes      func(params any) []Axis
	cpu       func(h Host, params any, b Buffers)
	cpuNarrow func(h Host, params any, b Buffers, s Storage) bool
	reference func(params any, b []Array)
	cost      func(params any) Cost
	inputs    func(params any, n []int) map[string]Input
	cases     func() []Case
	params    reflect.Type
}

// Variant is one way to run a kernel on a GPU: a source, constants and passes.
type Variant struct {
	Name    string            // "" for the plain one
	Source  string            // file name without ".wgsl" or ".comp"; "" = the kernel's name
	Include []string          // files put before the source: "exp" is include_exp.wgsl
	Group   uint32            // the sources' GROUP: invocations of a workgroup; 0 = the source sets it
	Consts  map[string]uint32 // WGSL constants put before the source
	Vec4    []string          // bindings declared as arrays of vec4<f32>
	Vec8    []string          // bindings with loads of 16 bytes: as Vec4, or of 16 bits vec4<u32>
	Unroll  int               // loops of up to so many iterations are unrolled in the text
	Storage Storage           // bindings of 16-bit floats
	Passes  []Pass
	// Cooperative is set for variants in GLSL only.
	Cooperative *Cooperative

	when       func(params any, class Class) bool
	byTuning   func(params any) bool
	specialize func(params any, t DeviceCaps, s Storage) []uint32
	text       string      // the whole shader, replaces the generated text
	module     []byte      // its SPIR-V, replaces the committed module
	caps       *DeviceCaps // replaces the device's capabilities; nil: the device's own
}

// Pass is one dispatch of an entry point. Passes run one after another over the same
// bindings, with a barrier in between.
type Pass struct {
	Entry string // "" = "main"
	grid  func(params any) [3]uint32
}

// Constants are the variant's specialisation constants, numbered from 0, for a call on a
// device that it fits.
func (v *Variant) Constants(params any, t DeviceCaps) []uint32 {
	if v.specialize == nil {
		return nil
	}
	if v.caps != nil {
		t = *v.caps
	}
	return v.specialize(params, t, v.Storage)
}

// HasPassConstant reports whether the index of the pass is one more specialisation
// constant, after the others: a shader in GLSL has one entry point.
func (v *Variant) HasPassConstant() bool { return v.Cooperative != nil && len(v.Passes) > 1 }

// OnlyTuned reports whether only tuning chooses the variant with these parameters.
func (v *Variant) OnlyTuned(params any) bool { return v.byTuning != nil && v.byTuning(params) }

// preferred reports whether a class of device chooses the variant for these parameters,
// without tuning.
func (v *Variant) preferred(params any, class Class) bool {
	return (v.when == nil || v.when(params, class)) && !v.OnlyTuned(params)
}

// EntryPoint is the name of the shader function.
func (p Pass) EntryPoint() string {
	if p.Entry == "" {
		return "main"
	}
	return p.Entry
}

// Grid is the number of workgroups.
func (p Pass) Grid(params any) [3]uint32 { return p.grid(params) }

// ID names the variant's SPIR-V file: "matmul.nt4".
func (k *Kernel) ID(v *Variant) string {
	if v.Name == "" {
		return k.Name
	}
	return k.Name + "." + v.Name
}

// Scratch is the number of bytes of working memory that the GPU passes need in
// the last binding, 0 for most kernels.
func (k *Kernel) Scratch(params any) int64 {
	if k.scratch == nil {
		return 0
	}
	return k.scratch(params)
}

// WithScratchPadding returns the kernel with the given bytes after its scratch, so that
// tests can detect accesses past its end.
func (k *Kernel) WithScratchPadding(bytes int64) *Kernel {
	padded := *k
	if k.scratch != nil {
		padded.scratch = func(p any) int64 {
			if n := k.scratch(p); n > 0 {
				return n + bytes
			}
			return 0
		}
	}
	return &padded
}

// HasScratch reports whether the last binding is working memory.
func (k *Kernel) HasScratch() bool { return k.scratch != nil }

// Run runs the kernel on the CPU.
func (k *Kernel) Run(h Host, params any, b Buffers) { k.cpu(h, params, b) }

// RunNarrow runs the kernel on the CPU with some buffers of 16 bits, and returns false
// where it has no form for them.
func (k *Kernel) RunNarrow(h Host, params any, b Buffers, s Storage) bool {
	return k.cpuNarrow != nil && k.cpuNarrow(h, params, b, s)
}

// Reference computes the outputs slowly in float64, over b in binding order
// without the scratch binding, under the given step block.
func (k *Kernel) Reference(params any, step []uint32, b []Array) {
	words := make([]int64, len(step))
	for i, w := range step {
		words[i] = int64(w)
	}
	k.reference(atStep(params, step), append(b[:len(b):len(b)], Array{I: words}))
}

// Cost returns the work of a call, zero where the kernel does not declare it.
func (k *Kernel) Cost(params any) Cost {
	if k.cost == nil {
		return Cost{}
	}
	return k.cost(params)
}

// CostAt is the cost of a call under the given step block.
func (k *Kernel) CostAt(params any, step []uint32) Cost { return k.Cost(atStep(params, step)) }

// Inputs returns valid contents for a call of any size whose bindings have n
// elements each, under the given step block: what the kernel declares, zeros for
// other integers, normally distributed values for the rest.
func (k *Kernel) Inputs(params any, step []uint32, n []int) []Input {
	var declared map[string]Input
	if k.inputs != nil {
		declared = k.inputs(atStep(params, step), n)
	}
	inputs := make([]Input, len(n))
	for i, b := range k.Bindings[:len(n)] {
		in, ok := declared[b.Name]
		switch {
		case n[i] == 0:
			in = Input{Absent: true}
		case ok:
		case b.Type == I32:
			in.I = make([]int32, n[i])
		case b.Type == U32:
			in.U = make([]uint32, n[i])
		default:
			in = Input{N: n[i], Scale: 1}
		}
		inputs[i] = in
	}
	return inputs
}

// AtStep is the parameters with every Count replaced by its number of rows under the
// given step block.
func (k *Kernel) AtStep(params any, step []uint32) any { return atStep(params, step) }

// Cases returns the conformance cases.
func (k *Kernel) Cases() []Case {
	if k.cases == nil {
		return nil
	}
	return k.cases()
}

// CheckParams reports a call with the wrong parameter type.
func (k *Kernel) CheckParams(params any) error {
	if t := reflect.TypeOf(params); t != k.params {
		return fmt.Errorf("kernel %s takes %v, got %v", k.Name, k.params, t)
	}
	return nil
}

// All returns every kernel, sorted by name.
func All() []*Kernel {
	all := make([]*Kernel, 0, len(registry))
	for _, k := range registry {
		all = append(all, k)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
