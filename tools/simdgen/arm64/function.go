package arm64

import (
	"fmt"
	"go/types"
	"slices"
)

// R is a general register.
type R int

func (r R) String() string { return fmt.Sprintf("R%d", int(r)) }

// V is a vector register of 128 bits, virtual until its code is complete.
type V struct {
	reg    int // -1: none yet
	pinned bool
}

// Function is a function while it is generated.
type Function struct {
	file      *File
	name, doc string
	signature *types.Signature
	source    string

	text     []string
	pending  []instruction // since the last label or branch
	used     [32]bool      // vector registers that pinned vectors hold
	general  int           // registers given
	constant *R            // for addresses of constants
}

// instruction is one line of text once its vectors have registers.
type instruction struct {
	text    func(regs []int) string
	vectors []*V
	writes  int // the first vectors are written and not read
}

// generalRegisters leaves out those of the linker, the platform, the assembler and the runtime.
var generalRegisters = []R{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23, 24, 25}

// Reg returns a general register that the function has not used.
func (f *Function) Reg() R {
	if f.general == len(generalRegisters) {
		panic(f.name + ": no general register is left")
	}
	f.general++
	return generalRegisters[f.general-1]
}

// Vec returns a virtual vector.
func (f *Function) Vec() *V { return &V{reg: -1} }

// Vecs returns n pinned vectors.
func (f *Function) Vecs(n int) []*V {
	v := make([]*V, n)
	for i := range v {
		v[i] = f.Pinned()
	}
	return v
}

// Pinned returns a vector that keeps its register until Free.
func (f *Function) Pinned() *V {
	f.flush()
	i := slices.Index(f.used[:], false)
	if i < 0 {
		panic(f.name + ": no vector register is left to pin")
	}
	f.used[i] = true
	return &V{reg: i, pinned: true}
}

// Free ends the use of pinned vectors.
func (f *Function) Free(vectors ...*V) {
	f.flush()
	for _, v := range vectors {
		f.used[v.reg] = false
	}
}

// flush gives registers to the pending instructions' vectors and writes them.
func (f *Function) flush() {
	last := map[*V]int{}
	for i, in := range f.pending {
		for _, v := range in.vectors {
			last[v] = i
		}
	}
	used := f.used
	for i, in := range f.pending {
		regs := make([]int, len(in.vectors))
		for j := in.writes; j < len(regs); j++ {
			v := in.vectors[j]
			if v.reg < 0 {
				panic(fmt.Sprintf("%s: instruction %d reads a vector that was not written", f.name, len(f.text)))
			}
			regs[j] = v.reg
		}
		for _, v := range in.vectors[in.writes:] {
			if !v.pinned && last[v] == i {
				used[v.reg] = false
			}
		}
		for j, v := range in.vectors[:in.writes] {
			if v.reg < 0 || !v.pinned && !used[v.reg] {
				v.reg = free(&used)
				if v.reg < 0 {
					panic(f.name + ": no vector register is left")
				}
			}
			regs[j] = v.reg
			used[v.reg] = true
		}
		for _, v := range in.vectors[:in.writes] {
			if !v.pinned && last[v] == i { // never read
				used[v.reg] = false
			}
		}
		f.text = append(f.text, "\t"+in.text(regs))
	}
	for v := range last {
		if !v.pinned {
			v.reg = -1 // not readable from here on
		}
	}
	f.pending = nil
}

// free is a register not in use, -1 if there is none.
func free(used *[32]bool) int { return slices.Index(used[:], false) }

// Op adds an instruction on general registers or without operands, as Go's assembler writes it.
func (f *Function) Op(format string, args ...any) {
	f.add(0, func([]int) string { return fmt.Sprintf(format, args...) })
}

func (f *Function) add(writes int, text func(regs []int) string, vectors ...*V) {
	f.pending = append(f.pending, instruction{text, vectors, writes})
}

// Label marks a place to branch to. Virtual vectors do not live over it.
func (f *Function) Label(name string) {
	f.flush()
	f.text = append(f.text, name+":")
}

// Branch adds a branch, as Go's assembler writes it. Virtual vectors do not live over it.
func (f *Function) Branch(format string, args ...any) {
	f.Op(format, args...)
	f.flush()
}

// Return adds the return.
func (f *Function) Return() { f.Branch("RET") }

// Param loads an integer or pointer.
func (f *Function) Param(name string) R {
	r := f.Reg()
	f.Op("MOVD %s, %s", f.address(name, 0, ""), r)
	return r
}

// Base loads the address of a slice's elements.
func (f *Function) Base(name string) R {
	r := f.Reg()
	f.Op("MOVD %s, %s", f.address(name, 0, "_base"), r)
	return r
}

// Len loads the length of a slice.
func (f *Function) Len(name string) R {
	r := f.Reg()
	f.Op("MOVD %s, %s", f.address(name, 8, "_len"), r)
	return r
}

// Bits loads the bits of a float32.
func (f *Function) Bits(name string) R {
	r := f.Reg()
	f.Op("MOVWU %s, %s", f.address(name, 0, ""), r)
	return r
}

// Broadcast loads a float32 into every lane of v.
func (f *Function) Broadcast(v *V, name string) {
	at, low := f.address(name, 0, ""), f.Vec()
	f.add(1, func(r []int) string { return fmt.Sprintf("FMOVS %s, F%d", at, r[0]) }, low)
	f.add(1, func(r []int) string { return fmt.Sprintf("VDUP V%d.S[0], V%d.S4", r[1], r[0]) }, v, low)
}

// Result stores lane 0 of v as the function's float32.
func (f *Function) Result(v *V) {
	at := f.address("ret", 0, "")
	f.add(0, func(r []int) string { return fmt.Sprintf("FMOVS F%d, %s", r[0], at) }, v)
}

// address is an argument's or the result's place on the stack.
func (f *Function) address(name string, extra int64, suffix string) string {
	vars, offsets := f.layout()
	for i, v := range vars {
		if v.Name() == name || name == "ret" && i == f.signature.Params().Len() {
			return fmt.Sprintf("%s%s+%d(FP)", name, suffix, offsets[i]+extra)
		}
	}
	panic(fmt.Sprintf("%s has no %s", f.name, name))
}

var sizes = types.SizesFor("gc", "arm64")

// layout is that of the arguments, and then the results from the next word.
func (f *Function) layout() (vars []*types.Var, offsets []int64) {
	params, results := f.signature.Params(), f.signature.Results()
	for i := range params.Len() {
		vars = append(vars, params.At(i))
	}
	if results.Len() > 0 {
		// A pointer's alignment, as the result's words begin at one.
		vars = append(vars, types.NewVar(0, nil, "", types.Typ[types.Uintptr]))
	}
	offsets = sizes.Offsetsof(vars)
	return vars, offsets
}

func (f *Function) argumentBytes() int64 {
	vars, offsets := f.layout()
	if len(vars) == 0 {
		return 0
	}
	end := len(vars) - 1
	if results := f.signature.Results(); results.Len() > 0 {
		return offsets[end] + sizes.Sizeof(results.At(0).Type())
	}
	return offsets[end] + sizes.Sizeof(vars[end].Type())
}
