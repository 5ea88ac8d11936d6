package shaders

import (
	"reflect"
	"slices"
)

// Decl is a kernel's declaration with parameters of type P, a struct of uint32,
// float32 and Count fields that becomes the shader's parameter block.
type Decl[P any] struct {
	Name     string
	Bindings []Binding
	Include  []string // by every variant in WGSL, before its own
	Variants []DeclVariant[P]
	// Halves are the sets of bindings, by name, that can be stored in 16 bits together;
	// every variant supports all of them, unless it is F32Only, with sources that load and store pairs. Even
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
	Vec8    []string
	// Unroll is the largest number of iterations of loops that are unrolled in the text.
	// Compilers of GPUs leave loops rolled as they see fit, and an array that a variable
	// indexes lies in memory instead of registers.
	Unroll int
	// F32Only leaves calls with 16-bit storage to other variants.
	F32Only bool
	When    func(p P, class Class) bool
	Passes  []DeclPass[P]
	// Cooperative makes the variant one of GLSL, Source.comp, for calls with 16-bit
	// storage only. Specialize are its specialisation constants from number 0 on.
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
		k.Bindings = append(k.Bindings[:len(k.Bindings):len(k.Bindings)], Binding{Name: "scratch", Type: F32, Access: ReadWrite, Scratch: true})
	}
	for _, dv := range d.Variants {
		v := Variant{Name: dv.Name, Source: dv.Source, Include: dv.Include, Group: dv.Group, Consts: dv.Consts, Vec4: dv.Vec4, Vec8: dv.Vec8, Unroll: dv.Unroll}
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
		if dv.F32Only {
			continue
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
