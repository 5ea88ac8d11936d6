package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// format is a float type in memory.
type format struct {
	name, element string
	kernel        string // Go type of the functions that read it
	shift         uint64 // 1<<shift bytes an element
}

var (
	float32s = format{"", "float32", "DotsKernel", 2}
	bf16s    = format{"BF16", "uint16", "NarrowDotsKernel", 1}
	f16s     = format{"F16", "uint16", "NarrowDotsKernel", 1}
)

// widen loads a vector of floats; with a mask, which only 32-bit formats have, the lanes
// outside it are 0.
func (f format) widen(c *build.Context, s isa, m operand.Mem, mask, to reg.Register) {
	switch f {
	case bf16s:
		c.VPMOVZXWD(m, to)
		c.VPSLLD(operand.U8(16), to, to)
	case f16s:
		c.VCVTPH2PS(m, to)
	default:
		s.load(c, m, mask, to)
	}
}

// defineNarrow generates the conversions of n vectors of 8 between float32 and the
// formats of 16 bits, rounding to the nearest, ties to even.
func defineNarrow(c *build.Context) {
	for _, f := range []format{bf16s, f16s} {
		narrowLoop(c, fmt.Sprintf("unpack%sAVX2", f.name), "dst *float32, src *uint16", 32, 16, func(src, dst operand.Mem) {
			v := c.YMM()
			f.widen(c, avx2, src, nil, v)
			c.VMOVUPS(v, dst)
		})
		narrowLoop(c, fmt.Sprintf("pack%sAVX2", f.name), "dst *uint16, src *float32", 16, 32, func(src, dst operand.Mem) {
			v := c.YMM()
			c.VMOVUPS(src, v)
			x := c.XMM()
			if f == f16s {
				c.VCVTPS2PH(operand.U8(0), v, x) // to the nearest
			} else {
				roundBF16(c, v, x)
			}
			c.VMOVDQU(x, dst)
		})
	}
}

// narrowLoop generates a function that runs body n times and advances the pointers by
// dstBytes and srcBytes.
func narrowLoop(c *build.Context, name, pointers string, dstBytes, srcBytes int32, body func(src, dst operand.Mem)) {
	function(c, name, "func("+pointers+", n int)", name+" converts n times 8 values, n at least 1.")
	dst, src, n := param(c, "dst"), param(c, "src"), param(c, "n")
	c.Label("next")
	body(operand.Mem{Base: src}, operand.Mem{Base: dst})
	c.ADDQ(operand.I32(dstBytes), dst)
	c.ADDQ(operand.I32(srcBytes), src)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("next"))
	c.VZEROUPPER()
	c.RET()
}

// roundBF16 adds half of the last kept place, minus one if that place is even, and
// truncates. A NaN keeps its upper half and becomes quiet.
func roundBF16(c *build.Context, v, x reg.VecVirtual) {
	place, bias, ones, quiet, nan := c.YMM(), c.YMM(), c.YMM(), c.YMM(), c.YMM()
	c.VCMPPS(operand.U8(3), v, v, nan) // not ordered
	c.VPCMPEQD(ones, ones, ones)
	c.VPSRLD(operand.U8(31), ones, place) // 1
	c.VPSRLD(operand.U8(17), ones, bias)  // 0x7fff
	c.VPSLLD(operand.U8(22), place, quiet)
	c.VPOR(v, quiet, quiet)
	last := c.YMM()
	c.VPSRLD(operand.U8(16), v, last)
	c.VPAND(last, place, last)
	c.VPADDD(bias, last, last)
	c.VPADDD(v, last, last)
	c.VBLENDVPS(nan, quiet, last, last)
	c.VPSRLD(operand.U8(16), last, last)
	upper := c.XMM()
	c.VEXTRACTI128(operand.U8(1), last, upper)
	c.VPACKUSDW(upper, last.AsX(), x)
}
