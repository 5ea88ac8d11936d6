package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// defineGemmBF16 generates the microkernels of AVX512-BF16, and the packing of their operands.
func defineGemmBF16(c *build.Context) {
	lanes := laneNumbers(c, "gemmLanesBF16", 2*avx512.lanes)
	for rows := 1; rows <= gemmRows(avx512); rows++ {
		g := gemmBF16{gemm{Context: c, isa: avx512, rows: rows, lanes: lanes}}
		g.define()
	}
	definePairRows(c, lanes)
}

// gemmBF16 generates the microkernel over pairs of bf16 values for a number of rows of c. The Go
// assembler does not know VDPBF16PS: it is written as bytes, and its registers are fixed.
type gemmBF16 struct{ gemm }

// The rows of c are in Z8 to Z31, the row of b in Z0 and Z1, values of a in Z2 to Z7 in turn.
var (
	bf16B      = [2]reg.VecPhysical{reg.Z0, reg.Z1}
	bf16Values = []reg.VecPhysical{reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7}
	bf16Sums   = []reg.VecPhysical{
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19,
		reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
)

func (g *gemmBF16) define() {
	function(g.Context, fmt.Sprintf("gemmBF16_%d", g.rows),
		"func(pairs int, a *uint16, rs, ks int, b *uint32, c *float32, ldc, n int, alpha, beta float32)",
		fmt.Sprintf("%d rows of c, at most %d columns; see BF16Kernel.", g.rows, 2*g.isa.lanes))
	pairs, b := param(g.Context, "pairs"), param(g.Context, "b")
	rs, ks := g.halves("rs"), g.halves("ks")
	a := g.rowPointers(rs)
	for r := range g.rows {
		acc := [2]reg.Register{bf16Sums[2*r], bf16Sums[2*r+1]}
		g.acc = append(g.acc, acc)
		for _, z := range acc {
			g.VPXORD(z, z, z)
		}
	}
	g.Label("loop")
	for i, z := range bf16B {
		g.VMOVUPS(operand.Mem{Base: b, Disp: i * g.bytes()}, z)
	}
	for r := range g.rows {
		m, value := operand.Mem{Base: a[r/aRows]}, bf16Values[r%len(bf16Values)]
		if r%aRows > 0 {
			m.Index, m.Scale = rs, uint8(r%aRows)
		}
		g.VPBROADCASTD(m, value)
		for i, z := range bf16B {
			g.dot(z, value, bf16Sums[2*r+i])
		}
	}
	for _, p := range a {
		g.ADDQ(ks, p)
	}
	g.ADDQ(operand.U32(2*g.bytes()), b)
	g.DECQ(pairs)
	g.JNZ(operand.LabelRef("loop"))
	g.scale()
	g.write()
}

// halves is a parameter counted in values of 16 bits, as bytes.
func (g *gemmBF16) halves(name string) reg.GPVirtual {
	r := param(g.Context, name)
	g.ADDQ(r, r)
	return r
}

// dot writes VDPBF16PS: sums += the dot products of pairs in b and value. The encoding is
// EVEX.512.F3.0F38.W0 52 /r (Intel's manual, volume 2C).
func (g *gemmBF16) dot(b, value, sums reg.VecPhysical) {
	rm, v, r := uint32(b.PhysicalIndex()), uint32(value.PhysicalIndex()), uint32(sums.PhysicalIndex())
	inverted := func(n, bit, to uint32) uint32 { return (^n >> bit & 1) << to }
	const map0F38, prefixF3, fixed, vector512 = 2, 2, 1 << 2, 2 << 5
	first := inverted(r, 3, 7) | inverted(rm, 4, 6) | inverted(rm, 3, 5) | inverted(r, 4, 4) | map0F38
	second := (^v&15)<<3 | fixed | prefixF3
	third := vector512 | inverted(v, 4, 3)
	modRM := 3<<6 | r&7<<3 | rm&7
	g.Commentf("VDPBF16PS Z%d, Z%d, Z%d", rm, v, r)
	g.Instruction(&ir.Instruction{
		Opcode: "LONG", Operands: []operand.Op{operand.U32(0x62 | first<<8 | second<<16 | third<<24)},
		Inputs: []operand.Op{b, value, sums}, Outputs: []operand.Op{sums}, ISA: []string{"AVX512_BF16"},
	})
	g.Instruction(&ir.Instruction{Opcode: "WORD", Operands: []operand.Op{operand.U16(0x52 | modRM<<8)}})
}

// definePairRows generates the interleaving of two rows at a time: a pair of the values that are
// one above the other becomes 32 bits.
func definePairRows(c *build.Context, lanes operand.Mem) {
	s := avx512
	function(c, "pairRows", "func(dst *uint32, ldd int, src *uint16, lds, pairs, n int)",
		"pairRows packs rows 2i and 2i+1 of src as row i of dst, n values each, at most 32; strides count elements.")
	dst, src, pairs := param(c, "dst"), param(c, "src"), param(c, "pairs")
	ldd, lds := param(c, "ldd"), param(c, "lds")
	c.SHLQ(operand.U8(2), ldd)
	c.ADDQ(lds, lds)
	count := s.broadcastInt(c, "n")
	masks := [2]reg.Register{s.mask(c, lanes, count, 0), s.mask(c, lanes, count, s.lanes)}
	c.Label("loop")
	for i, mask := range masks {
		low, high := s.vector(c), s.vector(c)
		c.VPMOVZXWD_Z(operand.Mem{Base: src, Disp: i * s.bytes() / 2}, mask, low)
		c.VPMOVZXWD_Z(operand.Mem{Base: src, Disp: i * s.bytes() / 2, Index: lds, Scale: 1}, mask, high)
		c.VPSLLD(operand.U8(16), high, high)
		c.VPORD(low, high, low)
		c.VMOVDQU32(low, mask, operand.Mem{Base: dst, Disp: i * s.bytes()})
	}
	c.LEAQ(operand.Mem{Base: src, Index: lds, Scale: 2}, src)
	c.ADDQ(ldd, dst)
	c.DECQ(pairs)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
