package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// colour generates the conversion of YCbCr to RGB in blocks of 16 pixels.
type colour struct {
	*build.Context
	constants
}

func defineColour(c *build.Context) {
	k := &colour{c, constants{Context: c, prefix: "colour"}}
	for _, f := range []struct {
		name    string
		convert func(y, u, v vec) (r, g, b vec)
	}{{"fullRangeAVX2", k.fullRange}, {"limitedRangeAVX2", k.limitedRange}} {
		function(c, f.name, "func(dst, luma, cb, cr *byte, blocks int)", f.name+" converts blocks of 16 pixels.")
		dst, blocks := param(c, "dst"), param(c, "blocks")
		planes := []reg.GPVirtual{param(c, "luma"), param(c, "cb"), param(c, "cr")}
		c.Label("loop")
		in := make([]vec, 3)
		for i, p := range planes {
			in[i] = c.YMM()
			c.VPMOVZXBW(operand.Mem{Base: p}, in[i])
			c.ADDQ(operand.U8(16), p)
		}
		r, g, b := f.convert(in[0], in[1], in[2])
		k.store(dst, r, g, b)
		c.ADDQ(operand.U8(48), dst)
		c.DECQ(blocks)
		c.JNZ(operand.LabelRef("loop"))
		c.VZEROUPPER()
		c.RET()
	}
}

// fullRange is JFIF's conversion in libjpeg's fixed point: coefficients of 16 fractional
// bits, split so that 16 bits hold them, as 1.402 = 1 + 26345/65536.
func (k *colour) fullRange(y, u, v vec) (r, g, b vec) {
	centre, two := k.words(128), k.YMM()
	k.VPSUBW(centre, u, u)
	k.VPSUBW(centre, v, v)
	k.VMOVDQU(k.words(2), two)
	r, g, b = k.YMM(), k.YMM(), k.YMM()
	k.VPADDW(v, y, r)
	k.VPADDW(k.dot(v, 26345, two, 16384, nil), r, r)
	k.VPSUBW(v, y, g)
	k.VPADDW(k.dot(u, -22554, v, 18734, k.dwords(32768)), g, g)
	k.VPADDW(u, y, b)
	k.VPADDW(u, b, b)
	k.VPADDW(k.dot(u, -14942, two, 16384, nil), b, b)
	return r, g, b
}

// limitedRange is libwebp's conversion (src/dsp/yuv.h): coefficients of 14 fractional bits,
// and values of 6. The sum for blue needs 16 bits without a sign.
func (k *colour) limitedRange(y, u, v vec) (r, g, b vec) {
	luma := k.high(y, 19077)
	r, g, b = k.YMM(), k.YMM(), k.YMM()
	k.VPSUBW(k.words(14234), luma, r)
	k.VPADDW(k.high(v, 26149), r, r)
	k.VPADDW(k.words(8708), luma, g)
	k.VPSUBW(k.high(u, 6419), g, g)
	k.VPSUBW(k.high(v, 13320), g, g)
	k.VPADDUSW(k.high(u, 33050-1<<16), luma, b)
	k.VPSUBUSW(k.words(17685), b, b)
	k.VPSRAW(operand.U8(6), r, r)
	k.VPSRAW(operand.U8(6), g, g)
	k.VPSRLW(operand.U8(6), b, b)
	return r, g, b
}

// high returns (v · gain) >> 8 for bytes v, and gain without a sign.
func (k *colour) high(v vec, gain int16) vec {
	y := k.YMM()
	k.VPSLLW(operand.U8(8), v, y)
	k.VPMULHUW(k.words(gain), y, y)
	return y
}

// dot returns (x·fx + y·fy + bias) >> 16.
func (k *colour) dot(x vec, fx int16, y vec, fy int16, bias operand.Op) vec {
	low, high := k.YMM(), k.YMM()
	k.VPUNPCKLWD(y, x, low)
	k.VPUNPCKHWD(y, x, high)
	for _, t := range []vec{low, high} {
		k.VPMADDWD(k.words(fx, fy), t, t)
		if bias != nil {
			k.VPADDD(bias, t, t)
		}
		k.VPSRAD(operand.U8(16), t, t)
	}
	k.VPACKSSDW(high, low, low)
	return low
}

// store writes 16 pixels with saturation to bytes.
func (k *colour) store(dst reg.GPVirtual, r, g, b vec) {
	const none = 0x80 // a zero byte
	k.VPACKUSWB(g, r, r)
	k.VPACKUSWB(b, b, b)
	var from [2][2][]byte // which bytes of red and green, and of blue, make the first 16 bytes and the last 8
	for i := range 32 {
		rg, blue := byte(none), byte(none)
		switch pixel := byte(i / 3); {
		case i >= 24:
		case i%3 == 2:
			blue = pixel
		default:
			rg = pixel + byte(i%3)*8
		}
		from[i/16][0], from[i/16][1] = append(from[i/16][0], rg), append(from[i/16][1], blue)
	}
	var out [2]vec
	for i := range out {
		blue := k.YMM()
		out[i] = k.YMM()
		k.VPSHUFB(k.bytes(from[i][0]...), r, out[i])
		k.VPSHUFB(k.bytes(from[i][1]...), b, blue)
		k.VPOR(blue, out[i], out[i])
	}
	for half := range 2 {
		k.VMOVDQU(out[0].AsX(), operand.Mem{Base: dst, Disp: 24 * half})
		k.VMOVQ(out[1].AsX(), operand.Mem{Base: dst, Disp: 24*half + 16})
		k.VEXTRACTI128(operand.U8(1), out[0], out[0].AsX())
		k.VEXTRACTI128(operand.U8(1), out[1], out[1].AsX())
	}
}
