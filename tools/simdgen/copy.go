package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// definePause generates the spin-wait hint.
func definePause(c *build.Context) {
	function(c, "pause", "func()", "pause yields to the other thread of the core for some cycles.")
	c.PAUSE()
	c.RET()
}

// defineCopy generates the copy of rows as wide as a panel of b, for which a call of memmove
// would cost more than the copy.
func defineCopy(c *build.Context) {
	defineCopyPart(c, laneNumbers(c, "copyLanes", 2*avx512.lanes))
	for _, s := range []isa{avx2, avx512} {
		cols := 2 * s.lanes
		name := fmt.Sprintf("copyRows%d%s", cols, s.name)
		function(c, name, "func(dst, src *float32, lds, rows int)",
			fmt.Sprintf("%s copies rows of %d values, lds apart, to follow each other.", name, cols))
		dst, src, lds, rows := param(c, "dst"), param(c, "src"), param(c, "lds"), param(c, "rows")
		c.SHLQ(operand.U8(2), lds)
		c.Label("loop")
		for i := range 2 {
			v := s.vector(c)
			c.VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, v)
			c.VMOVUPS(v, operand.Mem{Base: dst, Disp: i * s.bytes()})
		}
		c.ADDQ(lds, src)
		c.ADDQ(operand.U32(2*s.bytes()), dst)
		c.DECQ(rows)
		c.JNZ(operand.LabelRef("loop"))
		c.VZEROUPPER()
		c.RET()
	}
}

// defineCopyPart generates the copy of rows of any width up to that of a panel.
func defineCopyPart(c *build.Context, lanes operand.Mem) {
	s := avx512
	function(c, "copyPartAVX512", "func(dst *float32, ldd int, src *float32, lds, rows, n int)",
		"copyPartAVX512 copies rows of n values, at most 32; strides count elements.")
	dst, src, rows := param(c, "dst"), param(c, "src"), param(c, "rows")
	ldd, lds := param(c, "ldd"), param(c, "lds")
	c.SHLQ(operand.U8(2), ldd)
	c.SHLQ(operand.U8(2), lds)
	count := s.broadcastInt(c, "n")
	masks := [2]reg.Register{s.mask(c, lanes, count, 0), s.mask(c, lanes, count, s.lanes)}
	c.Label("loop")
	for i, mask := range masks {
		v := s.vector(c)
		s.load(c, operand.Mem{Base: src, Disp: i * s.bytes()}, mask, v)
		s.store(c, v, mask, operand.Mem{Base: dst, Disp: i * s.bytes()})
	}
	c.ADDQ(lds, src)
	c.ADDQ(ldd, dst)
	c.DECQ(rows)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
