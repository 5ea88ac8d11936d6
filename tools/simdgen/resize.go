package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

const resizeBits = 22 // fractional bits of a weight

func defineResize(c *build.Context) {
	k := &constants{Context: c, prefix: "resize"}
	defineResizeRow(c, k)
	defineResizeColumns(c, k)
}

// defineResizeRow generates the horizontal pass over RGB. A step takes two pixels: of each
// channel two lanes are multiplied with the two weights.
func defineResizeRow(c *build.Context, k *constants) {
	const none = 0x80 // a zero byte
	half := int32(1 << (resizeBits - 1))
	spread := k.bytes(0, 3, 1, 4, 2, 5, none, none, none, none, none, none, none, none, none, none)
	pick := k.bytes(0, 2, 4, none, none, none, none, none, none, none, none, none, none, none, none, none)
	function(c, "resizeRowAVX2", "func(dst, src *byte, first, weights *int32, pairs, count int)",
		"resizeRowAVX2 writes count pixels and one byte, and reads two bytes after the last pixel. Each has the index of its first pixel in src and pairs of weights.")
	dst, src, first, weights := param(c, "dst"), param(c, "src"), param(c, "first"), param(c, "weights")
	pairs, count := param(c, "pairs"), param(c, "count")
	order, last, rounding := c.XMM(), c.XMM(), c.YMM()
	c.VMOVDQU(spread, order)
	c.VMOVDQU(pick, last)
	c.VMOVDQU(k.dwords(half, 0, half, 0, half, 0, 0, 0), rounding)
	c.Label("pixel")
	at, left, sum := c.GP64(), c.GP64(), c.YMM()
	c.MOVLQSX(operand.Mem{Base: first}, at)
	c.LEAQ(operand.Mem{Base: at, Index: at, Scale: 2}, at)
	c.ADDQ(src, at)
	c.MOVQ(pairs, left)
	c.VMOVDQA(rounding, sum)
	c.Label("pair")
	in, w := c.YMM(), c.YMM()
	c.VMOVQ(operand.Mem{Base: at}, in.AsX())
	c.VPSHUFB(order, in.AsX(), in.AsX())
	c.VPMOVZXBD(in.AsX(), in)
	c.VPBROADCASTQ(operand.Mem{Base: weights}, w)
	c.VPMULLD(w, in, in)
	c.VPADDD(in, sum, sum)
	c.ADDQ(operand.U8(6), at)
	c.ADDQ(operand.U8(8), weights)
	c.DECQ(left)
	c.JNZ(operand.LabelRef("pair"))

	other := c.YMM()
	c.VPSHUFD(operand.U8(0xB1), sum, other)
	c.VPADDD(other, sum, sum)
	c.VPSRAD(operand.U8(resizeBits), sum, sum)
	c.VEXTRACTI128(operand.U8(1), sum, other.AsX())
	c.VPACKSSDW(other.AsX(), sum.AsX(), sum.AsX())
	c.VPACKUSWB(sum.AsX(), sum.AsX(), sum.AsX())
	c.VPSHUFB(last, sum.AsX(), sum.AsX())
	c.VMOVD(sum.AsX(), operand.Mem{Base: dst})
	c.ADDQ(operand.U8(3), dst)
	c.ADDQ(operand.U8(4), first)
	c.DECQ(count)
	c.JNZ(operand.LabelRef("pixel"))
	c.VZEROUPPER()
	c.RET()
}

// defineResizeColumns generates the vertical pass, over 32 values at a time.
func defineResizeColumns(c *build.Context, k *constants) {
	order := k.dwords(0, 4, 1, 5, 2, 6, 3, 7)
	function(c, "resizeColumnsAVX2", "func(dst, src *byte, stride int, weights *int32, lines, blocks int)",
		"resizeColumnsAVX2 writes the weighted sum of lines, which are stride apart, in blocks of 32 values.")
	dst, src, stride := param(c, "dst"), param(c, "src"), param(c, "stride")
	weights, lines, blocks := param(c, "weights"), param(c, "lines"), param(c, "blocks")
	rounding, permutation := c.YMM(), c.YMM()
	c.VMOVDQU(k.dwords(1<<(resizeBits-1)), rounding)
	c.VMOVDQU(order, permutation)
	c.Label("block")
	at, w, left, factor := c.GP64(), c.GP64(), c.GP64(), c.YMM()
	c.MOVQ(src, at)
	c.MOVQ(weights, w)
	c.MOVQ(lines, left)
	sums := make([]vec, 4)
	for i := range sums {
		sums[i] = c.YMM()
		c.VMOVDQA(rounding, sums[i])
	}
	c.Label("line")
	c.VPBROADCASTD(operand.Mem{Base: w}, factor)
	for i := range sums {
		in := c.YMM()
		c.VPMOVZXBD(operand.Mem{Base: at, Disp: 8 * i}, in)
		c.VPMULLD(factor, in, in)
		c.VPADDD(in, sums[i], sums[i])
	}
	c.ADDQ(stride, at)
	c.ADDQ(operand.U8(4), w)
	c.DECQ(left)
	c.JNZ(operand.LabelRef("line"))
	for i := range sums {
		c.VPSRAD(operand.U8(resizeBits), sums[i], sums[i])
	}
	c.VPACKSSDW(sums[1], sums[0], sums[0])
	c.VPACKSSDW(sums[3], sums[2], sums[2])
	c.VPACKUSWB(sums[2], sums[0], sums[0])
	c.VPERMD(sums[0], permutation, sums[0])
	c.VMOVDQU(sums[0], operand.Mem{Base: dst})
	c.ADDQ(operand.U8(32), src)
	c.ADDQ(operand.U8(32), dst)
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("block"))
	c.VZEROUPPER()
	c.RET()
}
