package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// defineUnfilter generates the inverse of PNG's filters in place, pixel by pixel for those
// that depend on the pixel to the left.
func defineUnfilter(c *build.Context) {
	defineUnfilterUp(c)
	for _, size := range []int{3, 4} {
		u := unfilter{Context: c, size: size}
		u.define("Sub", u.sub)
		u.define("Average", u.average)
		u.define("Paeth", u.paeth)
	}
}

func defineUnfilterUp(c *build.Context) {
	function(c, "unfilterUpAVX2", "func(line, above *byte, blocks int)", "unfilterUpAVX2 adds blocks of 32 bytes.")
	line, above, blocks, v := param(c, "line"), param(c, "above"), param(c, "blocks"), c.YMM()
	c.Label("loop")
	c.VMOVDQU(operand.Mem{Base: above}, v)
	c.VPADDB(operand.Mem{Base: line}, v, v)
	c.VMOVDQU(v, operand.Mem{Base: line})
	c.ADDQ(operand.U8(32), line)
	c.ADDQ(operand.U8(32), above)
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}

// unfilter generates the functions for pixels of three or four bytes. It keeps pixels in
// the low bytes of vectors.
type unfilter struct {
	*build.Context
	size int
}

// define generates a function. predict returns what is to be added to a pixel, from those to
// the left, above and above to the left.
func (u *unfilter) define(name string, predict func(left, above, corner vec) vec) {
	name = fmt.Sprintf("unfilter%s%dAVX2", name, u.size)
	function(u.Context, name, "func(line, above *byte, pixels int)",
		fmt.Sprintf("%s reads %d bytes after the last pixel, of both lines.", name, 4-u.size))
	line, up, pixels := param(u.Context, "line"), param(u.Context, "above"), param(u.Context, "pixels")
	left, corner := u.XMM(), u.XMM()
	u.VPXOR(left, left, left)
	u.VPXOR(corner, corner, corner)
	u.Label("loop")
	in, above := u.XMM(), u.XMM()
	u.VMOVD(operand.Mem{Base: line}, in)
	u.VMOVD(operand.Mem{Base: up}, above)
	sum := predict(left, above, corner)
	u.VPADDB(sum, in, left)
	u.store(left, line)
	u.VMOVDQA(above, corner)
	u.ADDQ(operand.U8(u.size), line)
	u.ADDQ(operand.U8(u.size), up)
	u.DECQ(pixels)
	u.JNZ(operand.LabelRef("loop"))
	u.RET()
}

// store writes one pixel and nothing after it.
func (u *unfilter) store(v vec, line reg.GPVirtual) {
	if u.size == 4 {
		u.VMOVD(v, operand.Mem{Base: line})
		return
	}
	u.VPEXTRW(operand.U8(0), v, operand.Mem{Base: line})
	u.VPEXTRB(operand.U8(2), v, operand.Mem{Base: line, Disp: 2})
}

func (u *unfilter) sub(left, _, _ vec) vec { return left }

// average is (left + above) / 2, rounded down: VPAVGB rounds up.
func (u *unfilter) average(left, above, _ vec) vec {
	odd, y := u.XMM(), u.XMM()
	u.VPXOR(left, above, odd)
	u.VPAND(u.ones(), odd, odd)
	u.VPAVGB(left, above, y)
	u.VPSUBB(odd, y, y)
	return y
}

func (u *unfilter) ones() operand.Mem {
	name := fmt.Sprintf("unfilterOnes%d", u.size)
	m := u.StaticGlobal(name)
	u.DataAttributes(attr.RODATA | attr.NOPTR)
	for range 4 {
		u.AppendDatum(operand.U32(0x01010101))
	}
	return m
}

// paeth is the one of left, above and corner that is nearest to left + above - corner.
func (u *unfilter) paeth(left, above, corner vec) vec {
	var words [3]vec
	for i, v := range []vec{left, above, corner} {
		words[i] = u.XMM()
		u.VPMOVZXBW(v, words[i])
	}
	a, b, c := words[0], words[1], words[2]
	da, db, dc := u.XMM(), u.XMM(), u.XMM()
	u.VPSUBW(c, b, da) // the estimate minus left
	u.VPSUBW(c, a, db)
	u.VPADDW(db, da, dc)
	for _, d := range []vec{da, db, dc} {
		u.VPABSW(d, d)
	}
	y, least := u.XMM(), u.XMM()
	u.VPMINSW(db, dc, least)
	u.VPCMPEQW(least, db, db)
	u.VPBLENDVB(db, b, c, y) // above where it is not farther than corner
	u.VPMINSW(least, da, least)
	u.VPCMPEQW(least, da, da)
	u.VPBLENDVB(da, a, y, y)
	u.VPACKUSWB(y, y, y)
	return y
}
