// Package shaders declares every compute kernel of the engine once: x.go, beside the
// shader x.wgsl, has its bindings, parameters, grid, CPU form, float64 reference, cost
// and test cases. The Vulkan, WebGPU and CPU backends, the conformance tests, the
// benchmarks and the SPIR-V generator all use that one declaration.
package shaders

import (
	"fmt"
	"reflect"
	"slices"
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
	Recomputed bool // by the reference, which computes it itself
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

// OnlyTuned reports whether tuning alone chooses the variant with these parameters.
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

// AtStep is the parameters with every Count replaced by the number of rows that it
// stands for under the given step block.
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

// Decl is a kernel's declaration with parameters of type P, a struct of uint32,
// float32 and Count fields that becomes the shader's parameter block.
type Decl[P any] struct {
	Name     string
	Bindings []Binding
	Include  []string // by every variant in WGSL, before its own
	Variants []DeclVariant[P]
	// Halves are the sets of bindings, by name, that can be stored in 16 bits together;
	// every variant supports all of them, with sources that load and store pairs. Even
	// reports whether no pair crosses the end of a row.
	Halves  [][]string
	Even    func(p P) bool
	Scratch func(p P) int64 // bytes; the scratch binding is added after the others
	Axes    func(p P) []Axis
	CPU     func(h Host, p P, b Buffers)
	// CPUNarrow is a CPU form that reads and writes 16 bits itself. Where there is
	// none, or it returns false, the buffers are widened for CPU.
	CPUNarrow func(h Host, p P, b Buffers, s Storage) bool
	Reference func(p P, b []Array) // counts are those of the step; the last array is the step block
	Cost      func(p P) Cost
	// Inputs are the contents, by name, of the bindings that cannot hold any
	// value (indices, intervals, variances) in a call with n elements in each.
	Inputs func(p P, n []int) map[string]Input
	Cases  func() []Case
}

// DeclVariant declares a variant of a kernel with parameters of type P.
type DeclVariant[P any] struct {
	Name    string
	Source  string
	Include []string
	Group   uint32
	Consts  map[string]uint32
	Vec4    []string
	When    func(p P, class Class) bool
	Passes  []DeclPass[P]
	// Cooperative makes the variant one of GLSL, Source.comp, for calls with 16-bit
	// storage alone. Specialize are its specialisation constants from number 0 on.
	Cooperative *Cooperative
	Specialize  func(p P, t DeviceCaps, s Storage) []uint32
	// ByTuning selects the calls for which only tuning chooses the variant; nil for none.
	ByTuning func(p P) bool
}

// DeclPass declares a pass of a kernel with parameters of type P. One of the functions
// gives its workgroups.
type DeclPass[P any] struct {
	Entry string
	Grid  func(p P) [3]uint32
	// Elements is the number of elements; an invocation handles WIDTH of them, in
	// workgroups of 64.
	Elements func(p P) int
	// Rows is the number of rows and columns; an invocation handles WIDTH columns, in
	// workgroups of 64 along a row. The shader finds them by position().
	Rows func(p P) (rows, cols int)
}

// gridOf is the pass's workgroups where an invocation handles width elements.
func (d DeclPass[P]) gridOf(width int) func(p any) [3]uint32 {
	switch {
	case d.Elements != nil:
		return func(p any) [3]uint32 { return grid1((d.Elements(p.(P))+width-1)/width, 64) }
	case d.Rows != nil:
		return func(p any) [3]uint32 {
			rows, cols := d.Rows(p.(P))
			return gridRows(rows, (cols+width-1)/width)
		}
	}
	return func(p any) [3]uint32 { return d.Grid(p.(P)) }
}

// passes of a variant in which an invocation handles width elements.
func passes[P any](declared []DeclPass[P], width int) []Pass {
	all := make([]Pass, len(declared))
	for i, d := range declared {
		all[i] = Pass{Entry: d.Entry, grid: d.gridOf(width)}
	}
	return all
}

// One is the single plain variant with a single pass.
func One[P any](grid func(p P) [3]uint32) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Grid: grid}}}}
}

// elementwise is the single plain variant over n elements.
func elementwise[P any](n func(p P) uint32) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Elements: func(p P) int { return int(n(p)) }}}}}
}

// rowwise is the single plain variant over rows and their columns.
func rowwise[P any](rows func(p P) (rows, cols int)) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Rows: rows}}}}
}

var registry = map[string]*Kernel{}

// Declare registers a kernel. It is called from package variables only.
func Declare[P any](d Decl[P]) *Kernel {
	k := &Kernel{
		Name:     d.Name,
		Bindings: d.Bindings,
		params:   reflect.TypeFor[P](),
		cpu:      func(h Host, p any, b Buffers) { d.CPU(h, p.(P), b) },
		cases:    d.Cases,
	}
	if d.Reference != nil {
		k.reference = func(p any, b []Array) { d.Reference(p.(P), b) }
	}
	if d.Cost != nil {
		k.cost = func(p any) Cost { return d.Cost(p.(P)) }
	}
	if d.CPUNarrow != nil {
		k.cpuNarrow = func(h Host, p any, b Buffers, s Storage) bool { return d.CPUNarrow(h, p.(P), b, s) }
	}
	if d.Axes != nil {
		k.axes = func(p any) []Axis { return d.Axes(p.(P)) }
	}
	if d.Inputs != nil {
		k.inputs = func(p any, n []int) map[string]Input { return d.Inputs(p.(P), n) }
	}
	if d.Scratch != nil {
		k.scratch = func(p any) int64 { return d.Scratch(p.(P)) }
		k.Bindings = append(k.Bindings[:len(k.Bindings):len(k.Bindings)], Binding{Name: "scratch", Type: F32, Access: ReadWrite})
	}
	for _, dv := range d.Variants {
		v := Variant{Name: dv.Name, Source: dv.Source, Include: dv.Include, Group: dv.Group, Consts: dv.Consts, Vec4: dv.Vec4}
		if v.Source == "" {
			v.Source = d.Name
		}
		if dv.When != nil {
			v.when = func(p any, c Class) bool { return dv.When(p.(P), c) }
		}
		if v.Cooperative = dv.Cooperative; v.Cooperative == nil {
			v.Include = slices.Concat(d.Include, dv.Include)
		}
		if dv.ByTuning != nil {
			v.byTuning = func(p any) bool { return dv.ByTuning(p.(P)) }
		}
		if dv.Specialize != nil {
			v.specialize = func(p any, t DeviceCaps, s Storage) []uint32 { return dv.Specialize(p.(P), t, s) }
		}
		v.Passes = passes(dv.Passes, 1)
		if v.Cooperative == nil {
			k.Variants = append(k.Variants, v)
		}
		for _, h := range halved(k, v, d.Halves) {
			h.Passes = passes(dv.Passes, 2)
			h.when = func(p any, c Class) bool { return d.Even(p.(P)) && (v.when == nil || v.when(p, c)) }
			k.Variants = append(k.Variants, h)
		}
	}
	if registry[d.Name] != nil {
		panic("shaders: kernel " + d.Name + " is declared twice")
	}
	registry[d.Name] = k
	return k
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

// grid1 is a grid of n invocations in workgroups of size wg, in two dimensions where one
// would exceed 65535; group_index() in the shader is the inverse.
func grid1(n, wg int) [3]uint32 {
	groups := max(1, (n+wg-1)/wg)
	if groups <= 65535 {
		return [3]uint32{uint32(groups), 1, 1}
	}
	return [3]uint32{65535, uint32((groups + 65534) / 65535), 1}
}

// gridRows is a grid of workgroups of 64 along the columns of every row; place() in the
// shader is the inverse.
func gridRows(rows, cols int) [3]uint32 { return grid1(rows*((cols+63)/64), 1) }

// gridGroups is a workgroup for each of n rows.
func gridGroups(n int) [3]uint32 { return grid1(n, 1) }

// chunksOf is how many chunks of the given size cover n rows.
func chunksOf(n uint32, size int) int { return (int(n) + size - 1) / size }

// llvmpipeLoopLimit is the number of iterations of all loops of a shader together after
// which llvmpipe ends them, without an error.
const llvmpipeLoopLimit = 65535

// rowReduction are the variants of a kernel in which a workgroup reduces a row of cols
// elements: on a software device with as many invocations as a vector has lanes, since
// more would run in sequence; on a GPU with enough to hide memory latency. Long rows
// exceed llvmpipeLoopLimit with lanes.
func rowReduction[P any](cols func(p P) uint32, passes ...DeclPass[P]) []DeclVariant[P] {
	lanes := func(p P, c Class) bool { return c == Software && cols(p) <= 16384 }
	return []DeclVariant[P]{
		{Name: "lanes", Group: 8, When: lanes, Passes: passes},
		{Group: 128, Passes: passes},
	}
}
