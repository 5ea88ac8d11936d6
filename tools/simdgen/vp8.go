package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vp8 generates VP8's inverse transform and loop filter (RFC 6386, sections 14.4 and 15.3).
type vp8 struct {
	*build.Context
	constants
}

func defineVP8(c *build.Context) {
	v := &vp8{c, constants{Context: c, prefix: "vp8"}}
	v.inverse()
	for _, f := range []struct {
		name           string
		columns, inner bool
	}{
		{"filterRowsAVX2", false, false}, {"filterInnerRowsAVX2", false, true},
		{"filterColumnsAVX2", true, false}, {"filterInnerColumnsAVX2", true, true},
	} {
		function(c, f.name, "func(a, b *byte, stride, level, inner, hev int)",
			f.name+" filters the edges of eight lines before a and before b; see VP8Filter.")
		v.filter(f.columns, f.inner)
	}
}

// inverse adds the inverse transform of 4×4 coefficients to samples.
func (v *vp8) inverse() {
	function(v.Context, "inverseVP8AVX2", "func(dst *byte, stride int, coeffs *int16)", "inverseVP8AVX2: see inverseVP8.")
	dst, stride, coeffs := param(v.Context, "dst"), param(v.Context, "stride"), param(v.Context, "coeffs")
	rows := make([]vec, 4)
	for i := range rows {
		rows[i] = v.XMM()
		v.VPMOVSXWD(operand.Mem{Base: coeffs, Disp: 8 * i}, rows[i])
	}
	rows = v.transpose4(v.pass(rows))
	v.VPADDD(v.dwords(4), rows[0], rows[0])
	rows = v.pass(rows)
	for _, r := range rows {
		v.VPSRAD(operand.U8(3), r, r)
	}
	for _, r := range v.transpose4(rows) {
		old := v.XMM()
		v.VPMOVZXBD(operand.Mem{Base: dst}, old)
		v.VPADDD(old, r, r)
		v.VPACKSSDW(r, r, r)
		v.VPACKUSWB(r, r, r)
		v.VMOVD(r, operand.Mem{Base: dst})
		v.ADDQ(stride, dst)
	}
	v.RET()
}

// pass transforms every lane over four vectors.
func (v *vp8) pass(r []vec) []vec {
	scaled := func(x vec, by int32) vec {
		y := v.XMM()
		v.VPMULLD(v.dwords(by), x, y)
		v.VPSRAD(operand.U8(16), y, y)
		return y
	}
	const cosine, sine = 85627, 35468 // √2·cos(π/8) and √2·sin(π/8), of 16 fractional bits
	a, b, c, d := v.XMM(), v.XMM(), v.XMM(), v.XMM()
	v.VPADDD(r[2], r[0], a)
	v.VPSUBD(r[2], r[0], b)
	v.VPSUBD(scaled(r[3], cosine), scaled(r[1], sine), c)
	v.VPADDD(scaled(r[3], sine), scaled(r[1], cosine), d)
	out := []vec{v.XMM(), v.XMM(), v.XMM(), v.XMM()}
	v.VPADDD(d, a, out[0])
	v.VPADDD(c, b, out[1])
	v.VPSUBD(c, b, out[2])
	v.VPSUBD(d, a, out[3])
	return out
}

// transpose4 transposes four vectors of four 32-bit lanes.
func (v *vp8) transpose4(in []vec) []vec {
	t, out := make([]vec, 4), make([]vec, 4)
	for i := range t {
		t[i], out[i] = v.XMM(), v.XMM()
	}
	for i := range 2 {
		v.VPUNPCKLDQ(in[2*i+1], in[2*i], t[2*i])
		v.VPUNPCKHDQ(in[2*i+1], in[2*i], t[2*i+1])
	}
	for i := range 2 {
		v.VPUNPCKLQDQ(t[2+i], t[i], out[2*i])
		v.VPUNPCKHQDQ(t[2+i], t[i], out[2*i+1])
	}
	return out
}

// filter generates the filter of an edge: of a macroblock, which changes three samples on
// each side, or inside of one, which changes two.
func (v *vp8) filter(columns, inner bool) {
	sides := []reg.GPVirtual{param(v.Context, "a"), param(v.Context, "b")}
	stride := param(v.Context, "stride")
	var p []vec // the four samples before the edge and the four after it, in words
	if columns {
		for _, s := range sides {
			v.SUBQ(operand.U8(4), s)
		}
		p = v.loadColumns(sides, stride)
	} else {
		back := v.GP64()
		v.MOVQ(stride, back)
		v.SHLQ(operand.U8(2), back)
		for _, s := range sides {
			v.SUBQ(back, s)
		}
		p = v.loadRows(sides, stride)
	}
	keep, hev := v.masks(p)
	if inner {
		v.filterInner(p, keep, hev)
	} else {
		v.filterOuter(p, keep, hev)
	}
	if columns {
		v.storeColumns(p, sides, stride)
	} else {
		v.storeRows(p, sides, stride, inner)
	}
	v.VZEROUPPER()
	v.RET()
}

// loadRows loads eight rows of eight samples of each side.
func (v *vp8) loadRows(sides []reg.GPVirtual, stride reg.GPVirtual) []vec {
	p := make([]vec, 8)
	at := []reg.GPVirtual{v.GP64(), v.GP64()}
	v.MOVQ(sides[0], at[0])
	v.MOVQ(sides[1], at[1])
	for i := range p {
		p[i] = v.YMM()
		v.VMOVQ(operand.Mem{Base: at[0]}, p[i].AsX())
		v.VMOVHPS(operand.Mem{Base: at[1]}, p[i].AsX(), p[i].AsX())
		v.VPMOVZXBW(p[i].AsX(), p[i])
		v.ADDQ(stride, at[0])
		v.ADDQ(stride, at[1])
	}
	return p
}

// storeRows stores the rows that the filter changes.
func (v *vp8) storeRows(p []vec, sides []reg.GPVirtual, stride reg.GPVirtual, inner bool) {
	first := 1
	if inner {
		first = 2
	}
	for range first {
		v.ADDQ(stride, sides[0])
		v.ADDQ(stride, sides[1])
	}
	for i := first; i < 8-first; i += 2 {
		v.VPACKUSWB(p[i+1], p[i], p[i])
		high := v.XMM()
		v.VEXTRACTI128(operand.U8(1), p[i], high)
		v.VMOVQ(p[i].AsX(), operand.Mem{Base: sides[0]})
		v.VMOVHPS(p[i].AsX(), operand.Mem{Base: sides[0], Index: stride, Scale: 1})
		v.VMOVQ(high, operand.Mem{Base: sides[1]})
		v.VMOVHPS(high, operand.Mem{Base: sides[1], Index: stride, Scale: 1})
		v.LEAQ(operand.Mem{Base: sides[0], Index: stride, Scale: 2}, sides[0])
		v.LEAQ(operand.Mem{Base: sides[1], Index: stride, Scale: 2}, sides[1])
	}
}

// loadColumns loads eight columns of 16 rows, of which the last eight are the second side's.
func (v *vp8) loadColumns(sides []reg.GPVirtual, stride reg.GPVirtual) []vec {
	at := []reg.GPVirtual{v.GP64(), v.GP64()}
	v.MOVQ(sides[0], at[0])
	v.MOVQ(sides[1], at[1])
	pairs := make([]vec, 8) // rows i and i+8
	for i := range pairs {
		other := v.XMM()
		pairs[i] = v.XMM()
		v.VMOVQ(operand.Mem{Base: at[0]}, pairs[i])
		v.VMOVQ(operand.Mem{Base: at[1]}, other)
		v.VPUNPCKLBW(other, pairs[i], pairs[i])
		v.ADDQ(stride, at[0])
		v.ADDQ(stride, at[1])
	}
	unpack := func(a, b vec) (low, high vec) {
		low, high = v.XMM(), v.XMM()
		v.VPUNPCKLBW(b, a, low)
		v.VPUNPCKHBW(b, a, high)
		return low, high
	}
	p := make([]vec, 8)
	var fours [4][2]vec // columns 0 to 3 and 4 to 7 of rows i, i+4, …
	for i := range fours {
		fours[i][0], fours[i][1] = unpack(pairs[i], pairs[i+4])
	}
	for half := range 2 {
		a0, a1 := unpack(fours[0][half], fours[2][half]) // columns 0 and 1, 2 and 3 of even rows
		b0, b1 := unpack(fours[1][half], fours[3][half])
		p[4*half], p[4*half+1] = unpack(a0, b0)
		p[4*half+2], p[4*half+3] = unpack(a1, b1)
	}
	for i := range p {
		wide := p[i].AsY().(vec)
		v.VPMOVZXBW(p[i], wide)
		p[i] = wide
	}
	return p
}

// storeColumns stores all eight columns.
func (v *vp8) storeColumns(p []vec, sides []reg.GPVirtual, stride reg.GPVirtual) {
	// The low lane holds the rows of the first side, the high lane those of the second.
	var pairs [4]vec
	for i := range pairs {
		v.VPACKUSWB(p[2*i+1], p[2*i], p[2*i]) // rows 0 to 7 of a column, then of the next
		other := v.YMM()
		v.VPSRLDQ(operand.U8(8), p[2*i], other)
		v.VPUNPCKLBW(other, p[2*i], p[2*i]) // both columns row by row
		pairs[i] = p[2*i]
	}
	var fours [2][2]vec // columns 0 to 3 and 4 to 7, of rows 0 to 3 and 4 to 7
	for i := range fours {
		fours[i][0], fours[i][1] = v.YMM(), v.YMM()
		v.VPUNPCKLWD(pairs[2*i+1], pairs[2*i], fours[i][0])
		v.VPUNPCKHWD(pairs[2*i+1], pairs[2*i], fours[i][1])
	}
	for rows := range 2 {
		low, high, x := v.YMM(), v.YMM(), v.XMM()
		v.VPUNPCKLDQ(fours[1][rows], fours[0][rows], low)
		v.VPUNPCKHDQ(fours[1][rows], fours[0][rows], high)
		for _, two := range []vec{low, high} {
			v.VEXTRACTI128(operand.U8(1), two, x)
			for i, lane := range []vec{two.AsX().(vec), x} {
				v.VMOVQ(lane, operand.Mem{Base: sides[i]})
				v.VMOVHPS(lane, operand.Mem{Base: sides[i], Index: stride, Scale: 1})
				v.LEAQ(operand.Mem{Base: sides[i], Index: stride, Scale: 2}, sides[i])
			}
		}
	}
}

// distance returns |a - b|.
func (v *vp8) distance(a, b vec) vec {
	y := v.YMM()
	v.VPSUBW(b, a, y)
	v.VPABSW(y, y)
	return y
}

// masks returns where the filter changes anything, and where the edge has a high variance.
func (v *vp8) masks(p []vec) (keep, hev vec) {
	near := v.distance(p[3], p[2])
	v.VPMAXSW(v.distance(p[4], p[5]), near, near)
	keep = v.distance(p[0], p[1])
	for _, i := range []int{1, 5, 6} {
		v.VPMAXSW(v.distance(p[i], p[i+1]), keep, keep)
	}
	v.VPMAXSW(near, keep, keep)
	limit := v.YMM()
	v.broadcast("inner", limit)
	v.VPCMPGTW(limit, keep, keep)
	step := v.distance(p[3], p[4])
	v.VPADDW(step, step, step)
	outer := v.distance(p[2], p[5])
	v.VPSRLW(operand.U8(1), outer, outer)
	v.VPADDW(outer, step, step)
	v.broadcast("level", limit)
	v.VPCMPGTW(limit, step, step)
	v.VPOR(step, keep, keep)
	v.VPXOR(v.words(-1), keep, keep)
	hev = near
	v.broadcast("hev", limit)
	v.VPCMPGTW(limit, hev, hev)
	return keep, hev
}

// broadcast loads a parameter into every word.
func (v *vp8) broadcast(name string, to vec) {
	v.VMOVQ(param(v.Context, name), to.AsX())
	v.VPBROADCASTW(to.AsX(), to)
}

func (v *vp8) clampWords(x vec, low, high int16) {
	v.VPMINSW(v.words(high), x, x)
	v.VPMAXSW(v.words(low), x, x)
}

// slope returns 3·(q0 - p0), plus the clamped p1 - q1 where mask is set, or everywhere.
func (v *vp8) slope(p []vec, mask vec) vec {
	a, f := v.YMM(), v.YMM()
	v.VPSUBW(p[5], p[2], f)
	v.clampWords(f, -128, 127)
	if mask != nil {
		v.VPAND(mask, f, f)
	}
	v.VPSUBW(p[3], p[4], a)
	v.VPADDW(a, f, f)
	v.VPADDW(a, a, a)
	v.VPADDW(f, a, a)
	return a
}

// common returns the changes of q0 and p0 by the filter of two or four samples.
func (v *vp8) common(a vec) (q, p vec) {
	q, p = v.YMM(), v.YMM()
	for i, y := range []vec{q, p} {
		v.VPADDW(v.words(int16(4-i)), a, y)
		v.VPSRAW(operand.U8(3), y, y)
		v.clampWords(y, -16, 15)
	}
	return q, p
}

func (v *vp8) filterInner(p []vec, keep, hev vec) {
	q0, p0 := v.common(v.slope(p, hev))
	v.VPAND(keep, q0, q0)
	v.VPAND(keep, p0, p0)
	outer := v.YMM()
	v.VPADDW(v.words(1), q0, outer)
	v.VPSRAW(operand.U8(1), outer, outer)
	v.VPANDN(outer, hev, outer)
	v.VPAND(keep, outer, outer)
	v.VPADDW(outer, p[2], p[2])
	v.VPADDW(p0, p[3], p[3])
	v.VPSUBW(q0, p[4], p[4])
	v.VPSUBW(outer, p[5], p[5])
}

func (v *vp8) filterOuter(p []vec, keep, hev vec) {
	a := v.slope(p, nil)
	q0, p0 := v.common(a)
	v.VPAND(keep, hev, hev) // the filter of two samples
	v.VPAND(hev, q0, q0)
	v.VPAND(hev, p0, p0)
	v.VPSUBW(q0, p[4], p[4])
	v.VPADDW(p0, p[3], p[3])
	v.clampWords(a, -128, 127)
	v.VPANDN(keep, hev, hev) // the filter of six
	v.VPAND(hev, a, a)
	for i, weight := range []int16{27, 18, 9} {
		change := v.YMM()
		v.VPMULLW(v.words(weight), a, change)
		v.VPADDW(v.words(63), change, change)
		v.VPSRAW(operand.U8(7), change, change)
		v.VPADDW(change, p[3-i], p[3-i])
		v.VPSUBW(change, p[4+i], p[4+i])
	}
}
