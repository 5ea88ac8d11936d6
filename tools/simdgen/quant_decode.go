package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func defineQuantDecode(c *build.Context) {
	u := newUnpacker(c, avx2, "quantDecode", blockFormat{})
	for _, f := range blockFormats {
		u.blockFormat = f
		d := quantDecode{unpacker: u}
		d.define()
	}
}

// quantDecode generates the decoding of 32 values of each of some blocks. Products are rounded before
// a minimum is subtracted, as in quant.Format's Decode.
type quantDecode struct {
	*unpacker
	src, group, inGroup reg.GPVirtual
	shifts              [2]reg.VecVirtual // of a group's low and high bits
}

func (d *quantDecode) define() {
	function(d.Context, fmt.Sprintf("decode%sAVX2", d.blockFormat.name), "func(dst *float32, ldd int, src *byte, lds, rows, group int)",
		"See Decoder.")
	dst, ldd, rows := param(d.Context, "dst"), param(d.Context, "ldd"), param(d.Context, "rows")
	lds := param(d.Context, "lds")
	d.src = param(d.Context, "src")
	d.SHLQ(operand.U8(2), ldd)
	if d.large {
		d.prepareGroup()
	}
	d.Label("next")
	values, scales, low := d.block()
	for i, part := range d.widen(values) {
		d.VCVTDQ2PS(part, part)
		d.VMULPS(scales[i/2], part, part)
		switch {
		case !d.min:
		case d.large:
			d.VSUBPS(low, part, part)
		default:
			d.VADDPS(low, part, part)
		}
		d.VMOVUPS(part, operand.Mem{Base: dst, Disp: 32 * i})
	}
	d.ADDQ(lds, d.src)
	d.ADDQ(ldd, dst)
	d.DECQ(rows)
	d.JNZ(operand.LabelRef("next"))
	d.VZEROUPPER()
	d.RET()
}

// widen subtracts the offset and widens bytes to words of 32 bits.
func (d *quantDecode) widen(v reg.VecVirtual) (parts [4]reg.VecVirtual) {
	if d.offset != 0 && d.blockFormat != q8_0 {
		d.VPSUBB(d.every(byte(d.offset)), v, v)
	}
	for i := range parts {
		from, half := v.AsX(), d.XMM()
		if i >= 2 {
			d.VEXTRACTI128(operand.U8(1), v, half)
			from = half
		}
		if i%2 == 1 {
			upper := d.XMM()
			d.VPSRLDQ(operand.U8(8), from, upper)
			from = upper
		}
		parts[i] = d.YMM()
		d.VPMOVSXBD(from, parts[i])
	}
	return parts
}

// block unpacks 32 values, the scales of both halves and the minimum, if there is one.
func (d *quantDecode) block() (values reg.VecVirtual, scales [2]reg.VecVirtual, low reg.VecVirtual) {
	block := operand.Mem{Base: d.src}
	if d.large {
		values = d.groupValues()
		if d.min {
			scales[0], low = d.groupScaleAndMin(block)
			scales[1] = scales[0]
			return values, scales, low
		}
		return values, d.groupScales(block), nil
	}
	values = d.small(block)
	both, scale := d.XMM(), d.YMM()
	d.VPBROADCASTD(block, both) // the scale, and what follows
	d.VCVTPH2PS(both, both)
	d.VBROADCASTSS(both, scale)
	if d.min {
		low = d.YMM()
		d.VMOVSHDUP(both, both)
		d.VBROADCASTSS(both, low)
	}
	return values, [2]reg.VecVirtual{scale, scale}, low
}

// prepareGroup computes what does not change from block to block.
func (d *quantDecode) prepareGroup() {
	d.group = param(d.Context, "group")
	switch d.blockFormat {
	case q4_K, q5_K: // 32 bytes of low bits for two groups
		d.shifts[0] = d.shiftCount(0, 1, 2)
		d.shifts[1] = d.shiftCount(0, 7, 0)
		d.inGroup = d.bitsOfGroup(1, 3, 5)
	case q6_K: // for four groups 64 bytes of low bits and 32 bytes of high ones
		d.shifts[0] = d.shiftCount(1, 1, 2)
		d.shifts[1] = d.shiftCount(0, 3, 1)
		d.inGroup = d.bitsOfGroup(0, 1, 5)
	}
}

// bitsOfGroup is the group's number shifted right, masked, and shifted left.
func (d *quantDecode) bitsOfGroup(right, mask, left uint8) reg.GPVirtual {
	r := d.GP64()
	d.MOVQ(d.group, r)
	d.SHRQ(operand.U8(right), r)
	d.ANDQ(operand.U8(mask), r)
	d.SHLQ(operand.U8(left), r)
	return r
}

// shiftCount is such a number as the count of a shift.
func (d *quantDecode) shiftCount(right, mask, left uint8) reg.VecVirtual {
	v := d.XMM()
	d.VMOVQ(d.bitsOfGroup(right, mask, left), v)
	return v
}

// groupValues unpacks the values of the group.
func (d *quantDecode) groupValues() reg.VecVirtual {
	v, h := d.YMM(), d.YMM()
	at := func(disp int) operand.Mem { return operand.Mem{Base: d.src, Index: d.inGroup, Scale: 1, Disp: disp} }
	switch d.blockFormat {
	case q4_K:
		d.VMOVDQU(at(16), v)
	case q5_K:
		d.VMOVDQU(at(48), v)
		d.VMOVDQU(operand.Mem{Base: d.src, Disp: 16}, h)
		d.VPSRLW(d.shifts[1], h, h)
		d.VPAND(d.every(1), h, h)
	case q6_K:
		part, low := d.bitsOfGroup(2, 1, 5), d.GP64()
		d.LEAQ(operand.Mem{Base: d.inGroup, Index: part, Scale: 2}, low)
		d.VMOVDQU(operand.Mem{Base: d.src, Index: low, Scale: 1}, v)
		d.VMOVDQU(operand.Mem{Base: d.src, Index: part, Scale: 1, Disp: 128}, h)
		d.VPSRLW(d.shifts[1], h, h)
		d.VPAND(d.every(3), h, h)
	}
	d.VPSRLW(d.shifts[0], v, v)
	d.VPAND(d.nibbles(), v, v)
	if d.blockFormat != q4_K {
		d.VPSLLW(operand.U8(4), h, h)
		d.VPOR(h, v, v)
	}
	return v
}

// groupScaleAndMin is the scale and minimum of the group.
func (d *quantDecode) groupScaleAndMin(block operand.Mem) (scale, minimum reg.VecVirtual) {
	low, high := d.scalesAndMins(block)
	mask := d.GP64()
	d.TESTQ(operand.U32(4), d.group)
	d.CMOVQNE(high, low)
	d.MOVQ(d.group, reg.RCX)
	d.ANDQ(operand.I8(3), reg.RCX)
	d.SHLQ(operand.U8(3), reg.RCX)
	d.SHRQ(reg.CL, low)
	d.MOVQ(operand.U64(0xff000000ff), mask)
	d.ANDQ(mask, low)
	pair, factors := d.XMM(), d.XMM()
	d.VMOVQ(low, pair)
	d.VCVTDQ2PS(pair, pair)
	d.VMOVD(block, factors)
	d.VCVTPH2PS(factors, factors)
	d.VMULPS(factors, pair, pair)
	scale, minimum = d.YMM(), d.YMM()
	d.VBROADCASTSS(pair, scale)
	d.VMOVSHDUP(pair, pair)
	d.VBROADCASTSS(pair, minimum)
	return scale, minimum
}

// groupScales are the scales of the halves of a group of Q6_K.
func (d *quantDecode) groupScales(block operand.Mem) (scales [2]reg.VecVirtual) {
	bits, pair, factor := d.GP32(), d.XMM(), d.XMM()
	d.MOVWLZX(operand.Mem{Base: d.src, Index: d.group, Scale: 2, Disp: 192}, bits)
	d.VMOVD(bits, pair)
	d.VPMOVSXBD(pair, pair)
	d.VCVTDQ2PS(pair, pair)
	d.VPBROADCASTW(block.Offset(208), factor)
	d.VCVTPH2PS(factor, factor)
	d.VMULPS(factor, pair, pair)
	for i := range scales {
		scales[i] = d.YMM()
		d.VBROADCASTSS(pair, scales[i])
		if i == 0 {
			d.VMOVSHDUP(pair, pair)
		}
	}
	return scales
}
