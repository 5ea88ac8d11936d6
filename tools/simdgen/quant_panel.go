package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A block of a panel: 32 bytes of each of 16 rows of b, four of a row side by side, then the rows' scales
// and minima.
const (
	panelRows   = 16
	panelScales = 32 * panelRows
	panelMins   = panelScales + 4*panelRows
	panelBytes  = panelMins + 4*panelRows
	panelMost   = 8 // rows of a
)

// definePanel generates products of blocks of 32 values for more rows of a than quantDots takes at once:
// 16 rows of b are unpacked together, so that a vector has one column for each.
func definePanel(c *build.Context) {
	p := panel{Context: c, constants: constants{Context: c, prefix: "panel"}}
	for _, f := range []blockFormat{q8_0, q4_0, q4_1, q5_0, q5_1} {
		p.blockFormat = f
		p.pack()
	}
	for rows := 1; rows <= panelMost; rows++ {
		p.dots(rows, false)
		p.dots(rows, true)
	}
}

type panel struct {
	*build.Context
	constants
	blockFormat

	rows            [panelRows / 4]reg.GPVirtual // every fourth row of b
	stride, stride3 reg.GPVirtual                // bytes of a row, and three times that
}

// everywhere is a constant in all bytes of a vector.
func (p *panel) everywhere(m operand.Mem) reg.VecVirtual {
	v := p.ZMM()
	p.VBROADCASTI64X4(m, v)
	return v
}

// row is the address of a byte of a row of b.
func (p *panel) row(i, disp int) operand.Mem {
	m := operand.Mem{Base: p.rows[i/4], Disp: disp}
	switch i % 4 {
	case 1, 2:
		m.Index, m.Scale = p.stride, uint8(i%4)
	case 3:
		m.Index, m.Scale = p.stride3, 1
	}
	return m
}

// pack generates the unpacking of some blocks of 16 rows to a panel.
func (p *panel) pack() {
	function(p.Context, "panel"+p.name+"AVX512", "func(dst, src *byte, lds, ahead, blocks int)", "panel"+p.name+"AVX512 unpacks 16 rows; see Panel.")
	dst, blocks := param(p.Context, "dst"), param(p.Context, "blocks")
	p.rows[0], p.stride, p.stride3 = param(p.Context, "src"), param(p.Context, "lds"), p.GP64()
	p.LEAQ(operand.Mem{Base: p.stride, Index: p.stride, Scale: 2}, p.stride3)
	for i := 1; i < len(p.rows); i++ {
		p.rows[i] = p.GP64()
		p.LEAQ(operand.Mem{Base: p.rows[i-1], Index: p.stride, Scale: 4}, p.rows[i])
	}
	next := param(p.Context, "ahead")
	p.ADDQ(p.rows[0], next)
	// The offsets of the rows.
	index, numbers := p.ZMM(), p.ZMM()
	p.VPBROADCASTD(p.stride.As32(), index)
	p.VPMOVZXBD(p.constants.bytes(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), numbers)
	p.VPMULLD(numbers, index, index)
	nibbles := p.everywhere(p.constants.bytes(15))

	p.Label("block")
	for at := 0; at < panelRows*p.size; at += 64 {
		p.PREFETCHT0(operand.Mem{Base: next, Disp: at})
	}
	p.ADDQ(operand.I32(panelRows*p.size), next)
	p.scales(dst, index)
	var values [8]reg.VecVirtual
	if p.blockFormat == q8_0 {
		signs := p.everywhere(p.constants.bytes(128))
		for half := range 2 {
			for i, v := range p.columns(2 + 16*half) {
				p.VPXORD(signs, v, v)
				values[4*half+i] = v
			}
		}
	} else {
		for i, v := range p.columns(p.size - 16) {
			high := p.ZMM()
			p.VPSRLD(operand.U8(4), v, high)
			p.VPANDD(nibbles, v, v)
			p.VPANDD(nibbles, high, high)
			values[i], values[4+i] = v, high
		}
	}
	switch p.blockFormat {
	case q5_0:
		p.fifthBits(2, index, values)
	case q5_1:
		p.fifthBits(4, index, values)
	}
	for i, v := range values {
		p.VMOVDQU32(v, operand.Mem{Base: dst, Disp: 64 * i})
	}
	p.ADDQ(operand.I32(panelBytes), dst)
	for _, r := range p.rows {
		p.ADDQ(operand.I8(p.size), r)
	}
	p.DECQ(blocks)
	p.JNZ(operand.LabelRef("block"))
	p.VZEROUPPER()
	p.RET()
}

// gather loads four bytes of every row.
func (p *panel) gather(disp int, index reg.VecVirtual) reg.VecVirtual {
	v, all := p.ZMM(), p.K()
	p.KXNORW(all, all, all)
	p.VPXORD(v, v, v)
	p.VPGATHERDD(operand.Mem{Base: p.rows[0], Disp: disp, Index: index, Scale: 1}, all, v)
	return v
}

// scales stores the scales and minima.
func (p *panel) scales(dst reg.GPVirtual, index reg.VecVirtual) {
	both := p.gather(0, index)
	p.halves(both, operand.Mem{Base: dst, Disp: panelScales})
	if p.min {
		p.VPSRLD(operand.U8(16), both, both)
		p.halves(both, operand.Mem{Base: dst, Disp: panelMins})
	}
}

// halves stores the lower halves of lanes, as floats of 32 bits.
func (p *panel) halves(v reg.VecVirtual, to operand.Mem) {
	words, floats := p.YMM(), p.ZMM()
	p.VPMOVDW(v, words)
	p.VCVTPH2PS(words, floats)
	p.VMOVUPS(floats, to)
}

// columns loads 16 bytes of every row: four vectors with four bytes of each.
func (p *panel) columns(disp int) (columns [4]reg.VecVirtual) {
	var z, t [4]reg.VecVirtual // a quarter of a vector has four rows
	for j := range z {
		z[j] = p.ZMM()
		p.VMOVDQU32(p.row(j, disp), z[j].AsX())
		for quarter := 1; quarter < 4; quarter++ {
			p.VINSERTI32X4(operand.U8(quarter), p.row(4*quarter+j, disp), z[j], z[j])
		}
		t[j], columns[j] = p.ZMM(), p.ZMM()
	}
	p.VPUNPCKLDQ(z[1], z[0], t[0])
	p.VPUNPCKHDQ(z[1], z[0], t[1])
	p.VPUNPCKLDQ(z[3], z[2], t[2])
	p.VPUNPCKHDQ(z[3], z[2], t[3])
	p.VPUNPCKLQDQ(t[2], t[0], columns[0])
	p.VPUNPCKHQDQ(t[2], t[0], columns[1])
	p.VPUNPCKLQDQ(t[3], t[1], columns[2])
	p.VPUNPCKHQDQ(t[3], t[1], columns[3])
	return columns
}

// fifthBits adds 16 where a bit of a row's word is set.
func (p *panel) fifthBits(disp int, index reg.VecVirtual, values [8]reg.VecVirtual) {
	words := p.gather(disp, index)
	first := p.everywhere(p.constants.bytes(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12))
	bits, sixteen := p.everywhere(p.constants.bytes(1, 2, 4, 8)), p.everywhere(p.constants.bytes(16))
	for i, v := range values {
		t, k := p.ZMM(), p.K()
		if i > 0 {
			p.VPSRLD(operand.U8(4), words, words)
		}
		p.VPSHUFB(first, words, t)
		p.VPTESTMB(bits, t, k)
		p.VPADDB(sixteen, v, k, v)
	}
}

// dots generates the products of a panel and some rows of a.
func (p *panel) dots(rows int, min bool) {
	name := fmt.Sprintf("panelDotsAVX512_%d", rows)
	if min {
		name = fmt.Sprintf("panelDotsMinAVX512_%d", rows)
	}
	function(p.Context, name, "func(blocks int, a *int8, scales *float32, panel *byte, c *float32, ldc int, beta float32)", fmt.Sprintf("%d rows of a; see PanelDots.", rows))
	a, scales, from, c := param(p.Context, "a"), param(p.Context, "scales"), param(p.Context, "panel"), param(p.Context, "c")
	ldc, blocks := param(p.Context, "ldc"), param(p.Context, "blocks")
	p.SHLQ(operand.U8(2), ldc)
	acc := p.start(rows, c, ldc)

	p.Label("block")
	var values [8]reg.VecVirtual
	for i := range values {
		values[i] = p.ZMM()
		p.VMOVDQU32(operand.Mem{Base: from, Disp: 64 * i}, values[i])
	}
	scale, low := p.ZMM(), p.ZMM()
	p.VMOVUPS(operand.Mem{Base: from, Disp: panelScales}, scale)
	if min {
		p.VMOVUPS(operand.Mem{Base: from, Disp: panelMins}, low)
	}
	for r := range rows {
		sum, weight := p.ZMM(), p.ZMM()
		if min {
			p.VPXORD(sum, sum, sum)
		} else {
			p.VPBROADCASTD(operand.Mem{Base: a, Disp: r*blockBytes + blockStarts}, sum)
		}
		for i, v := range values {
			p.multiply(operand.Mem{Base: a, Disp: r*blockBytes + 4*i}, v, sum)
		}
		p.VCVTDQ2PS(sum, sum)
		p.VMULPS_BCST(operand.Mem{Base: scales, Disp: r * scaleBytes}, scale, weight)
		p.VFMADD231PS(weight, sum, acc[r])
		if min {
			p.VFMADD231PS_BCST(operand.Mem{Base: scales, Disp: r*scaleBytes + 4}, low, acc[r])
		}
	}
	p.ADDQ(operand.I32(rows*blockBytes), a)
	p.ADDQ(operand.I32(rows*scaleBytes), scales)
	p.ADDQ(operand.I32(panelBytes), from)
	p.DECQ(blocks)
	p.JNZ(operand.LabelRef("block"))
	for r := range rows {
		p.VMOVUPS(acc[r], operand.Mem{Base: c})
		if r+1 < rows {
			p.ADDQ(ldc, c)
		}
	}
	p.VZEROUPPER()
	p.RET()
}

// start sets the sums to beta·c.
func (p *panel) start(rows int, c, ldc reg.GPVirtual) (acc []reg.VecVirtual) {
	bits, at, beta := p.GP32(), p.GP64(), p.ZMM()
	for range rows {
		v := p.ZMM()
		p.VPXORD(v, v, v)
		acc = append(acc, v)
	}
	p.MOVL(address(p.Context, "beta"), bits)
	p.TESTL(operand.U32(0x7fffffff), bits) // -0 is 0 too
	p.JZ(operand.LabelRef("block"))
	p.VBROADCASTSS(address(p.Context, "beta"), beta)
	p.MOVQ(c, at)
	for r, v := range acc {
		p.VMULPS(operand.Mem{Base: at}, beta, v)
		if r+1 < rows {
			p.ADDQ(ldc, at)
		}
	}
	return acc
}

// multiply writes VPDPBUSD, which avo does not know: sums += sums of four products of the unsigned bytes of
// v and four signed ones of a.
func (p *panel) multiply(a operand.Mem, v, sums reg.VecVirtual) {
	p.Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Suffixes: []string{"BCST"}, Operands: []operand.Op{a, v, sums},
		Inputs: []operand.Op{a, v, sums}, Outputs: []operand.Op{sums}, ISA: []string{"AVX512_VNNI"},
	})
}
