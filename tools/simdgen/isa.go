package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set: its vectors and partial moves.
type isa struct {
	name  string
	lanes int // float32 values a vector
	wide  bool
}

var (
	avx2   = isa{name: "AVX2", lanes: 8}
	avx512 = isa{name: "AVX512", lanes: 16, wide: true}
)

func (s isa) bytes() int { return 4 * s.lanes }

func (s isa) vector(c *build.Context) reg.Register {
	if s.wide {
		return c.ZMM()
	}
	return c.YMM()
}

func (s isa) zero(c *build.Context) reg.Register {
	v := s.vector(c)
	if s.wide {
		c.VPXORD(v, v, v)
	} else {
		c.VXORPS(v, v, v)
	}
	return v
}

// mask selects the lanes i with i + first < n. count holds n in every lane.
func (s isa) mask(c *build.Context, iota operand.Mem, count reg.Register, first int) reg.Register {
	if s.wide {
		k, v := c.K(), s.vector(c)
		c.VMOVDQU32(iota.Offset(4*first), v)
		c.VPCMPGTD(v, count, k)
		return k
	}
	v := s.vector(c)
	c.VPCMPGTD(iota.Offset(4*first), count, v)
	return v
}

// load moves from memory, the lanes outside a mask becoming 0.
func (s isa) load(c *build.Context, m operand.Mem, mask, to reg.Register) {
	switch {
	case mask == nil:
		c.VMOVUPS(m, to)
	case s.wide:
		c.VMOVUPS_Z(m, mask, to)
	default:
		c.VMASKMOVPS(m, mask, to)
	}
}

func (s isa) store(c *build.Context, from, mask reg.Register, m operand.Mem) {
	switch {
	case mask == nil:
		c.VMOVUPS(from, m)
	case s.wide:
		c.VMOVUPS(from, mask, m)
	default:
		c.VMASKMOVPS(from, mask, m)
	}
}

// broadcastInt broadcasts the low word of an integer parameter to every lane.
func (s isa) broadcastInt(c *build.Context, name string) reg.Register {
	v := s.vector(c)
	c.VPBROADCASTD(address(c, name), v)
	return v
}

// param loads a parameter of the current function into a general register.
func param(c *build.Context, name string) reg.GPVirtual {
	return c.Load(c.Param(name), c.GP64()).(reg.GPVirtual)
}

// address is the address of a parameter of the current function.
func address(c *build.Context, name string) operand.Mem {
	p, err := c.Param(name).Resolve()
	if err != nil {
		panic(err) // a bug of the generator
	}
	return p.Addr
}

// broadcastParam broadcasts a float32 parameter to every lane.
func (s isa) broadcastParam(c *build.Context, name string) reg.Register {
	v := s.vector(c)
	c.VBROADCASTSS(address(c, name), v)
	return v
}

// laneNumbers declares the constants 0 to n-1.
func laneNumbers(c *build.Context, name string, n int) operand.Mem {
	m := c.StaticGlobal(name)
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range n {
		c.AppendDatum(operand.U32(uint32(i)))
	}
	return m
}

// function starts a function without a stack frame whose pointers do not escape.
func function(c *build.Context, name, signature string, doc ...string) {
	c.Function(name)
	c.Attributes(attr.NOSPLIT)
	c.Pragma("noescape")
	c.SignatureExpr(signature)
	c.Doc(doc...)
}
