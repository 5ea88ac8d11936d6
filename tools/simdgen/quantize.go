package main

import (
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// defineQuantize generates the rounding of a row to 8 bits: 32 values at a time.
func defineQuantize(c *build.Context) {
	q := quantizer{Context: c, constants: constants{Context: c, prefix: "quantize"}}
	function(c, "quantizeAVX2", "func(values *int8, scale *float32, step int, a *float32, blocks, offset int)",
		"quantizeAVX2 quantises a row. values and scale point into the first Block and Scale; every step-th is written.")
	values, scale, a, blocks := param(c, "values"), param(c, "scale"), param(c, "a"), param(c, "blocks")
	stepValues, stepScale := param(c, "step"), c.GP64()
	c.MOVQ(stepValues, stepScale)
	c.SHLQ(operand.U8(6), stepValues) // blockBytes
	c.SHLQ(operand.U8(3), stepScale)  // scaleBytes
	x, q0 := c.XMM(), c.XMM()
	offset := c.YMM()
	c.VMOVD(address(c, "offset"), x)
	c.VPXOR(q0, q0, q0)
	c.VPSUBD(x, q0, x)
	c.VPBROADCASTD(x, offset)
	q.offset = offset
	c.Label("next")
	q.block(operand.Mem{Base: a}, operand.Mem{Base: values}, operand.Mem{Base: scale})
	c.ADDQ(operand.U8(128), a)
	c.ADDQ(stepValues, values)
	c.ADDQ(stepScale, scale)
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("next"))
	c.VZEROUPPER()
	c.RET()
}

type quantizer struct {
	*build.Context
	constants
	offset reg.VecVirtual // negative
}

func (q *quantizer) float(x float32) operand.Mem { return q.dwords(int32(math.Float32bits(x))) }

func (q *quantizer) block(a, values, scale operand.Mem) {
	v, largest := q.load(a)
	factor, inverse, small := q.XMM(), q.XMM(), q.XMM()
	// Of a block with an infinity or a NaN, this is one too.
	q.VDIVPS(q.float(127), largest, factor)
	q.VMOVUPS(q.float(127), inverse)
	q.VDIVPS(largest, inverse, inverse)
	q.VCMPPS(operand.U8(1), q.float(1e-36), largest, small) // less
	q.VANDNPS(factor, small, factor)
	q.VANDNPS(inverse, small, inverse)
	every := q.YMM()
	q.VBROADCASTSS(inverse, every)
	for _, x := range v {
		q.VMULPS(every, x, x)
		q.VCVTPS2DQ(x, x) // to the nearest, ties to even
	}
	q.VPACKSSDW(v[1], v[0], v[0])
	q.VPACKSSDW(v[3], v[2], v[2])
	q.VPACKSSWB(v[2], v[0], v[0]) // fours of values 0 8 16 24, 4 12 20 28
	order, packed, sums := q.YMM(), q.YMM(), q.YMM()
	q.VMOVDQU(q.dwords(0, 4, 1, 5, 2, 6, 3, 7), order)
	q.VPERMD(v[0], order, packed)
	q.VMOVDQU(packed, values)
	q.VMOVDQU(q.constants.bytes(1), sums)
	q.VPMADDUBSW(packed, sums, sums)
	q.VPMADDWD(q.words(1), sums, sums)
	starts := q.YMM()
	q.VPMULLD(q.offset, sums, starts)
	q.VMOVDQU(starts, values.Offset(blockStarts))
	q.sum(sums, factor, scale)
}

// load loads 32 values, and the largest magnitude to every lane. As integers, those of infinities and
// NaN are larger than all others.
func (q *quantizer) load(a operand.Mem) (v [4]reg.VecVirtual, largest reg.VecVirtual) {
	var magnitudes [4]reg.VecVirtual
	for i := range v {
		v[i], magnitudes[i] = q.YMM(), q.YMM()
		q.VMOVUPS(a.Offset(32*i), v[i])
		q.VANDPS(q.dwords(math.MaxInt32), v[i], magnitudes[i])
	}
	q.VPMAXUD(magnitudes[1], magnitudes[0], magnitudes[0])
	q.VPMAXUD(magnitudes[3], magnitudes[2], magnitudes[2])
	q.VPMAXUD(magnitudes[2], magnitudes[0], magnitudes[0])
	other := q.XMM()
	largest = magnitudes[0].AsX().(reg.VecVirtual)
	q.VEXTRACTI128(operand.U8(1), magnitudes[0], other)
	q.VPMAXUD(other, largest, largest)
	for _, order := range []uint8{0x4E, 0xB1} {
		q.VPSHUFD(operand.U8(order), largest, other)
		q.VPMAXUD(other, largest, largest)
	}
	return v, largest
}

// sum stores the scale, and it times the sum of the values.
func (q *quantizer) sum(sums, factor reg.VecVirtual, scale operand.Mem) {
	total, other := sums.AsX(), q.XMM()
	q.VEXTRACTI128(operand.U8(1), sums, other)
	q.VPADDD(other, total, total)
	for _, order := range []uint8{0x4E, 0xB1} {
		q.VPSHUFD(operand.U8(order), total, other)
		q.VPADDD(other, total, total)
	}
	q.VCVTDQ2PS(total, total)
	q.VMULPS(factor, total, total)
	q.VUNPCKLPS(total, factor, factor)
	q.VMOVQ(factor, scale)
}
