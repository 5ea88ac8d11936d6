package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func defineTranspose(c *build.Context) {
	for _, rows := range []int{8, 4} {
		t := transpose{Context: c, rows: rows}
		t.define()
	}
}

// transpose generates the transposition of blocks of 8×8 or 4×4: pairs, then quadruples of
// rows are interleaved. Of 8 rows, rows i and i+4 are loaded into the halves of a vector.
type transpose struct {
	*build.Context
	rows int

	src, dst strided
	src4     reg.GPVirtual // row 4
}

// strided has the stride of rows and three times it.
type strided struct{ base, stride, stride3 reg.GPVirtual }

func (s strided) row(base reg.GPVirtual, i, disp int) operand.Mem {
	m := operand.Mem{Base: base, Disp: disp}
	switch i {
	case 1, 2:
		m.Index, m.Scale = s.stride, uint8(i)
	case 3:
		m.Index, m.Scale = s.stride3, 1
	}
	return m
}

func (t *transpose) define() {
	name := fmt.Sprintf("transpose%dAVX2", t.rows)
	function(t.Context, name, "func(dst *float32, ldd int, src *float32, lds, blocks int)",
		fmt.Sprintf("%s writes the transpose of %d rows of %d·blocks columns; strides count elements.", name, t.rows, t.rows))
	blocks := param(t.Context, "blocks")
	t.dst, t.src = t.strided("dst", "ldd"), t.strided("src", "lds")
	if t.rows == 8 {
		t.src4 = t.GP64()
		t.LEAQ(operand.Mem{Base: t.src.base, Index: t.src.stride, Scale: 4}, t.src4)
	}
	t.Label("loop")
	for half := range t.rows / 4 {
		t.four(t.load(half))
		t.LEAQ(operand.Mem{Base: t.dst.base, Index: t.dst.stride, Scale: 4}, t.dst.base)
	}
	t.ADDQ(operand.U8(4*t.rows), t.src.base)
	if t.rows == 8 {
		t.ADDQ(operand.U8(4*t.rows), t.src4)
	}
	t.DECQ(blocks)
	t.JNZ(operand.LabelRef("loop"))
	t.VZEROUPPER()
	t.RET()
}

func (t *transpose) strided(base, stride string) strided {
	s := strided{param(t.Context, base), param(t.Context, stride), t.GP64()}
	t.SHLQ(operand.U8(2), s.stride)
	t.LEAQ(operand.Mem{Base: s.stride, Index: s.stride, Scale: 2}, s.stride3)
	return s
}

// load loads four columns of every row.
func (t *transpose) load(half int) (rows [4]reg.VecVirtual) {
	for i := range rows {
		m := t.src.row(t.src.base, i, 16*half)
		if t.rows == 4 {
			rows[i] = t.XMM()
			t.VMOVUPS(m, rows[i])
			continue
		}
		rows[i] = t.YMM()
		t.VMOVUPS(m, rows[i].AsX())
		t.VINSERTF128(operand.U8(1), t.src.row(t.src4, i, 16*half), rows[i], rows[i])
	}
	return rows
}

// four interleaves four rows and stores the four rows of the result.
func (t *transpose) four(v [4]reg.VecVirtual) {
	low01, high01, low23, high23 := t.like(), t.like(), t.like(), t.like()
	t.VUNPCKLPS(v[1], v[0], low01)
	t.VUNPCKHPS(v[1], v[0], high01)
	t.VUNPCKLPS(v[3], v[2], low23)
	t.VUNPCKHPS(v[3], v[2], high23)
	for i, pair := range [4][2]reg.VecVirtual{{low01, low23}, {low01, low23}, {high01, high23}, {high01, high23}} {
		out := t.like()
		t.VSHUFPS(operand.U8([]uint8{0x44, 0xEE}[i%2]), pair[1], pair[0], out)
		t.VMOVUPS(out, t.dst.row(t.dst.base, i, 0))
	}
}

func (t *transpose) like() reg.VecVirtual {
	if t.rows == 4 {
		return t.XMM()
	}
	return t.YMM()
}
