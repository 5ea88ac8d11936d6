package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// jpegIDCT generates libjpeg's accurate inverse DCT ("islow") of an 8×8 block in 32-bit
// lanes, which overflow like Go's int32.
type jpegIDCT struct {
	*build.Context
	constants
}

const (
	dctBits  = 13
	passBits = 2 // kept between the passes
)

func defineIDCT(c *build.Context) {
	d := jpegIDCT{c, constants{Context: c, prefix: "idct"}}
	order := d.bytes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
	halfs := [2]operand.Mem{d.dwords(1 << (dctBits - passBits - 1)), d.dwords(1<<(dctBits+passBits+2) + 128<<(dctBits+passBits+3))}
	for _, v := range dctConstants {
		d.dwords(v)
	}
	function(c, "inverseDCTAVX2", "func(dst *byte, stride int, coeffs *int16, quant *int32) bool",
		"inverseDCTAVX2: see inverseDCT. It returns false, without samples, if a value of the first row is so large that the Go form's shortcut overflows differently.")
	coeffs, quant := param(c, "coeffs"), param(c, "quant")
	rows := make([]vec, 8)
	for y := range rows {
		rows[y] = c.YMM()
		c.VPMOVSXWD(operand.Mem{Base: coeffs, Disp: 16 * y}, rows[y])
		c.VPMULLD(operand.Mem{Base: quant, Disp: 32 * y}, rows[y], rows[y])
	}
	sum, ok := c.YMM(), c.GP8()
	c.VPADDD(d.dwords(1<<17), rows[0], sum)
	c.VPTEST(d.dwords(-1<<18), sum)
	c.SETEQ(ok)
	c.Store(ok, c.ReturnIndex(0))
	c.JNE(operand.LabelRef("done"))
	columns := transpose8(c, d.pass(rows, halfs[0], dctBits-passBits))
	d.store(d.pass(columns, halfs[1], dctBits+passBits+3), order)
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

var dctConstants = []int32{2446, 3196, 4433, -15137, 6270, -7373, 9633, 12299, -16069, 16819, -20995, 25172, -3196}

func (d *jpegIDCT) add(a, b vec) vec {
	y := d.YMM()
	d.VPADDD(b, a, y)
	return y
}

func (d *jpegIDCT) sub(a, b vec) vec {
	y := d.YMM()
	d.VPSUBD(b, a, y)
	return y
}

func (d *jpegIDCT) mul(a vec, by int32) vec {
	y := d.YMM()
	d.VPMULLD(d.dwords(by), a, y)
	return y
}

// pass transforms every lane over the eight vectors.
func (d *jpegIDCT) pass(c []vec, half operand.Mem, shift uint64) []vec {
	z1 := d.mul(d.add(c[2], c[6]), 4433)
	t2, t3 := d.add(z1, d.mul(c[6], -15137)), d.add(z1, d.mul(c[2], 6270))
	t0, t1 := d.add(c[0], c[4]), d.sub(c[0], c[4])
	for _, t := range []vec{t0, t1} {
		d.VPSLLD(operand.U8(dctBits), t, t)
		d.VPADDD(half, t, t)
	}
	e := []vec{d.add(t0, t3), d.add(t1, t2), d.sub(t1, t2), d.sub(t0, t3)}

	z3, z4 := d.add(c[7], c[3]), d.add(c[5], c[1])
	z5 := d.mul(d.add(z3, z4), 9633)
	z3, z4 = d.add(z5, d.mul(z3, -16069)), d.add(z5, d.mul(z4, -3196))
	z1 = d.mul(d.add(c[7], c[1]), -7373)
	z2 := d.mul(d.add(c[5], c[3]), -20995)
	o := []vec{
		d.add(d.mul(c[7], 2446), d.add(z1, z3)), d.add(d.mul(c[5], 16819), d.add(z2, z4)),
		d.add(d.mul(c[3], 25172), d.add(z2, z3)), d.add(d.mul(c[1], 12299), d.add(z1, z4)),
	}
	out := make([]vec, 8)
	for i := range 4 {
		out[i], out[7-i] = d.add(e[i], o[3-i]), d.sub(e[i], o[3-i])
		for _, v := range []vec{out[i], out[7-i]} {
			d.VPSRAD(operand.U8(shift), v, v)
		}
	}
	return out
}

// store writes the samples of eight columns, with saturation to bytes.
func (d *jpegIDCT) store(columns []vec, order operand.Mem) {
	dst, stride, three := param(d.Context, "dst"), param(d.Context, "stride"), d.GP64()
	d.LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, three)
	halves := make([]vec, 2) // columns 0 to 3, and 4 to 7, of rows 0 to 3 in the low lane and 4 to 7 in the high lane
	for i := range halves {
		c := columns[4*i:]
		d.VPACKSSDW(c[1], c[0], c[0])
		d.VPACKSSDW(c[3], c[2], c[2])
		d.VPACKUSWB(c[2], c[0], c[0])
		d.VPSHUFB(order, c[0], c[0])
		halves[i] = c[0]
	}
	low, high := d.YMM(), d.YMM()
	d.VPUNPCKLDQ(halves[1], halves[0], low)  // rows 0, 1, 4, 5
	d.VPUNPCKHDQ(halves[1], halves[0], high) // rows 2, 3, 6, 7
	for range 2 {
		d.VMOVQ(low.AsX(), operand.Mem{Base: dst})
		d.VMOVHPS(low.AsX(), operand.Mem{Base: dst, Index: stride, Scale: 1})
		d.VMOVQ(high.AsX(), operand.Mem{Base: dst, Index: stride, Scale: 2})
		d.VMOVHPS(high.AsX(), operand.Mem{Base: dst, Index: three, Scale: 1})
		d.LEAQ(operand.Mem{Base: dst, Index: stride, Scale: 4}, dst)
		d.VEXTRACTI128(operand.U8(1), low, low.AsX())
		d.VEXTRACTI128(operand.U8(1), high, high.AsX())
	}
}

// transpose8 transposes eight vectors of eight 32-bit lanes.
func transpose8(c *build.Context, in []vec) []vec {
	pairs := make([]vec, 8)
	for i := 0; i < 8; i += 2 {
		pairs[i], pairs[i+1] = c.YMM(), c.YMM()
		c.VPUNPCKLDQ(in[i+1], in[i], pairs[i])
		c.VPUNPCKHDQ(in[i+1], in[i], pairs[i+1])
	}
	fours := make([]vec, 8)
	for i := 0; i < 8; i += 4 {
		for k := range 2 {
			fours[i+2*k], fours[i+2*k+1] = c.YMM(), c.YMM()
			c.VPUNPCKLQDQ(pairs[i+2+k], pairs[i+k], fours[i+2*k])
			c.VPUNPCKHQDQ(pairs[i+2+k], pairs[i+k], fours[i+2*k+1])
		}
	}
	out := make([]vec, 8)
	for i := range 4 {
		out[i], out[i+4] = c.YMM(), c.YMM()
		c.VPERM2I128(operand.U8(0x20), fours[i+4], fours[i], out[i])
		c.VPERM2I128(operand.U8(0x31), fours[i+4], fours[i], out[i+4])
	}
	return out
}

// defineUpsample generates libjpeg's triangle filters, which double a line horizontally. The
// weighted sum of two lines, 3·near + far, is doubled likewise.
func defineUpsample(c *build.Context) {
	k := constants{Context: c, prefix: "upsample"}
	for _, f := range []struct {
		name      string
		lines     int
		even, odd int16 // added before the shift
		shift     uint64
	}{
		{"doubleLineAVX2", 1, 1, 2, 2},
		{"doubleLinesAVX2", 2, 8, 7, 4},
	} {
		even, odd := k.words(f.even), k.words(f.odd)
		signature := "func(dst, near *byte, blocks int)"
		if f.lines == 2 {
			signature = "func(dst, near, far *byte, blocks int)"
		}
		function(c, f.name, signature, f.name+" doubles blocks of 16 samples, of which also the neighbours are read.")
		dst, near, blocks := param(c, "dst"), param(c, "near"), param(c, "blocks")
		var far reg.GPVirtual
		if f.lines == 2 {
			far = param(c, "far")
		}
		samples := func(at int) vec {
			v := c.YMM()
			c.VPMOVZXBW(operand.Mem{Base: near, Disp: at}, v)
			if f.lines == 1 {
				return v
			}
			other := c.YMM()
			c.VPMOVZXBW(operand.Mem{Base: far, Disp: at}, other)
			c.VPADDW(v, other, other)
			c.VPADDW(v, v, v)
			c.VPADDW(other, v, v)
			return v
		}
		c.Label("loop")
		own, left, right, three := samples(0), samples(-1), samples(1), c.YMM()
		c.VPADDW(own, own, three)
		c.VPADDW(own, three, three)
		for _, side := range []struct {
			v    vec
			bias operand.Mem
		}{{left, even}, {right, odd}} {
			c.VPADDW(three, side.v, side.v)
			c.VPADDW(side.bias, side.v, side.v)
			c.VPSRLW(operand.U8(f.shift), side.v, side.v)
		}
		c.VPSLLW(operand.U8(8), right, right)
		c.VPOR(left, right, right)
		c.VMOVDQU(right, operand.Mem{Base: dst})
		c.ADDQ(operand.U8(32), dst)
		c.ADDQ(operand.U8(16), near)
		if f.lines == 2 {
			c.ADDQ(operand.U8(16), far)
		}
		c.DECQ(blocks)
		c.JNZ(operand.LabelRef("loop"))
		c.VZEROUPPER()
		c.RET()
	}
}
