package main

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// reduction reduces a loop's values to one result.
type reduction int

const (
	none reduction = iota
	sum
	most
)

// loop is a function over slices of one length, vector by vector. Its body takes
// the vectors of the inputs and returns those of the outputs and then, with a
// reduction, the one to be reduced. An output that is also an input is named in
// both.
type loop struct {
	name             string
	out, in, scalars []string
	reduce           reduction
	body             func(v *vectors, in, scalars []reg.VecVirtual) []reg.VecVirtual
	// withAdd generates a second function that adds to the outputs.
	withAdd bool
}

// vectors is the state of a loop while it is generated.
type vectors struct {
	*build.Context
	loop
	add       bool
	constants map[float32]operand.Mem

	pointers map[string]reg.GPVirtual
	at       reg.GPVirtual // element
	numbers  []reg.VecVirtual
	acc      reg.VecVirtual
}

func (v *vectors) define() {
	name := v.name
	if v.add {
		name += "Add"
	}
	function(v.Context, name+"AVX2", v.signature(), name+"AVX2: see the Go form.")
	v.pointers = map[string]reg.GPVirtual{}
	for _, s := range v.slices() {
		v.pointers[s] = v.Load(v.Param(s).Base(), v.GP64()).(reg.GPVirtual)
	}
	n := v.Load(v.Param(v.slices()[0]).Len(), v.GP64()).(reg.GPVirtual)
	v.numbers = nil
	for _, s := range v.scalars {
		v.numbers = append(v.numbers, avx2.broadcastParam(v.Context, s).(reg.VecVirtual))
	}
	v.start()
	v.at = v.GP64()
	next := v.GP64()
	v.XORQ(v.at, v.at)
	v.Label("whole")
	v.LEAQ(operand.Mem{Base: v.at, Disp: avx2.lanes}, next)
	v.CMPQ(next, n)
	v.JG(operand.LabelRef("part"))
	v.step(nil)
	v.MOVQ(next, v.at)
	v.JMP(operand.LabelRef("whole"))
	v.Label("part")
	v.SUBQ(v.at, n)
	v.JZ(operand.LabelRef("done"))
	v.step(v.rest(n))
	v.Label("done")
	v.finish()
	v.VZEROUPPER()
	v.RET()
}

func (v *vectors) slices() []string {
	names := append([]string{}, v.out...)
	for _, s := range v.in {
		if _, twice := find(names, s); !twice {
			names = append(names, s)
		}
	}
	return names
}

func find(names []string, s string) (int, bool) {
	for i, n := range names {
		if n == s {
			return i, true
		}
	}
	return 0, false
}

func (v *vectors) signature() string {
	s := "func(" + strings.Join(v.slices(), ", ") + " []float32"
	if len(v.scalars) > 0 {
		s += ", " + strings.Join(v.scalars, ", ") + " float32"
	}
	if v.reduce != none {
		return s + ") float32"
	}
	return s + ")"
}

// rest is the mask of the last n lanes.
func (v *vectors) rest(n reg.GPVirtual) reg.Register {
	x, count := v.XMM(), v.YMM()
	v.VMOVD(n.As32(), x)
	v.VPBROADCASTD(x, count)
	return avx2.mask(v.Context, operand.NewDataAddr(operand.Symbol{Name: "lanes", Static: true}, 0), count, 0)
}

func (v *vectors) step(mask reg.Register) {
	in := make([]reg.VecVirtual, len(v.in))
	for i, s := range v.in {
		in[i] = v.YMM()
		avx2.load(v.Context, v.element(s), mask, in[i])
	}
	values := v.body(v, in, v.numbers)
	for i, s := range v.out {
		if v.add {
			old := v.YMM()
			avx2.load(v.Context, v.element(s), mask, old)
			v.VADDPS(old, values[i], values[i])
		}
		avx2.store(v.Context, values[i], mask, v.element(s))
	}
	if v.reduce != none {
		v.accumulate(values[len(v.out)], mask)
	}
}

func (v *vectors) element(s string) operand.Mem {
	return operand.Mem{Base: v.pointers[s], Index: v.at, Scale: 4}
}

func (v *vectors) start() {
	switch v.reduce {
	case sum:
		v.acc = avx2.zero(v.Context).(reg.VecVirtual)
	case most:
		v.acc = v.YMM()
		v.VMOVUPS(v.constant(negativeInfinity), v.acc)
	}
}

func (v *vectors) accumulate(x reg.VecVirtual, mask reg.Register) {
	switch {
	case v.reduce == sum && mask != nil:
		v.VANDPS(mask, x, x)
		v.VADDPS(x, v.acc, v.acc)
	case v.reduce == sum:
		v.VADDPS(x, v.acc, v.acc)
	case mask != nil:
		v.VMAXPS(x, v.acc, x)
		v.VBLENDVPS(mask, x, v.acc, v.acc)
	default:
		v.VMAXPS(x, v.acc, v.acc)
	}
}

// finish reduces the lanes of the accumulator.
func (v *vectors) finish() {
	if v.reduce == none {
		return
	}
	fold := func(other reg.VecVirtual) {
		if v.reduce == sum {
			v.VADDPS(other, v.acc.AsX(), v.acc.AsX())
		} else {
			v.VMAXPS(other, v.acc.AsX(), v.acc.AsX())
		}
	}
	half := v.XMM()
	v.VEXTRACTF128(operand.U8(1), v.acc, half)
	fold(half)
	v.VSHUFPS(operand.U8(0x4E), v.acc.AsX(), v.acc.AsX(), half)
	fold(half)
	v.VSHUFPS(operand.U8(0xB1), v.acc.AsX(), v.acc.AsX(), half)
	fold(half)
	v.Store(v.acc.AsX(), v.ReturnIndex(0))
}

// constant is a value in every lane, in memory.
func (v *vectors) constant(x float32) operand.Mem {
	if m, ok := v.constants[x]; ok {
		return m
	}
	panic(fmt.Sprintf("constant %g is not declared", x))
}
