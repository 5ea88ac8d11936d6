package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// defineWebPUpsample generates libwebp's upsampling (src/dsp/upsampling.c), which doubles a
// line of chroma horizontally, from the nearer and the farther line.
func defineWebPUpsample(c *build.Context) {
	k := constants{Context: c, prefix: "webp"}
	function(c, "upsampleAVX2", "func(dst, near, far *byte, blocks int)",
		"upsampleAVX2 writes the samples between 17 samples in blocks of 32.")
	dst, near, far, blocks := param(c, "dst"), param(c, "near"), param(c, "far"), param(c, "blocks")
	c.Label("loop")
	var v [4]vec // near, the next, far, the next
	for i := range v {
		v[i] = c.YMM()
		m := operand.Mem{Base: near, Disp: i % 2}
		if i >= 2 {
			m.Base = far
		}
		c.VPMOVZXBW(m, v[i])
	}
	sum, out := c.YMM(), [2]vec{c.YMM(), c.YMM()}
	c.VPADDW(v[0], v[1], sum)
	c.VPADDW(v[2], sum, sum)
	c.VPADDW(v[3], sum, sum)
	c.VPADDW(k.words(8), sum, sum)
	for i, diagonal := range [2][2]vec{{v[1], v[2]}, {v[0], v[3]}} {
		c.VPADDW(diagonal[0], diagonal[1], out[i])
		c.VPADDW(out[i], out[i], out[i])
		c.VPADDW(sum, out[i], out[i])
		c.VPSRLW(operand.U8(3), out[i], out[i])
		c.VPADDW(v[i], out[i], out[i])
		c.VPSRLW(operand.U8(1), out[i], out[i])
	}
	c.VPSLLW(operand.U8(8), out[1], out[1])
	c.VPOR(out[0], out[1], out[1])
	c.VMOVDQU(out[1], operand.Mem{Base: dst})
	c.ADDQ(operand.U8(16), near)
	c.ADDQ(operand.U8(16), far)
	c.ADDQ(operand.U8(32), dst)
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
