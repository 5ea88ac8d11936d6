package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// defineGemmAMX generates the products of AMX's tiles: one or two of c above each other, one or two
// side by side.
func defineGemmAMX(c *build.Context) {
	for rows := 1; rows <= 2; rows++ {
		for cols := 1; cols <= 2; cols++ {
			g := gemmAMX{Context: c, rows: rows, cols: cols}
			g.define()
		}
	}
}

// gemmAMX generates the product of rows×cols tiles. The Go assembler does not know AMX: its
// instructions are written as bytes, and the registers are fixed.
type gemmAMX struct {
	*build.Context
	rows, cols int
}

// Tiles 0 to 3 are of c, those of a row beside each other, 4 and 5 of a, 6 and 7 of b.
const (
	amxA, amxB   = 4, 6
	amxTileRow   = 64          // bytes
	amxPanelRow  = 2 * 64      // bytes of a row of b's panel
	amxPanelStep = 16 * 2 * 64 // bytes of the rows of b that a step multiplies
)

var (
	amxCount, amxSteps      = reg.RAX, reg.R10
	amxRS, amxKS, amxGS     = reg.RBX, reg.RCX, reg.RDX // bytes between rows, steps and groups of 16 rows of a
	amxNextA, amxC, amxLDC  = reg.RSI, reg.R8, reg.R9
	amxLeft, amxRight       = reg.R11, reg.R12 // a's two tiles
	amxPanel, amxPanelPitch = reg.RDI, reg.R13
)

func (g *gemmAMX) define() {
	function(g.Context, fmt.Sprintf("gemmAMX%dx%d", g.rows, g.cols),
		"func(config *byte, count, steps int, a *uint16, rs, ks, gs int, b *uint32, c *float32, ldc int, add bool)",
		fmt.Sprintf("%d by %d tiles of c; see TileProduct.", g.rows, g.cols))
	g.Load(g.Param("config"), amxLeft)
	g.memory("LDTILECFG", 0x49, 0, prefixNone, amxLeft, nil, 0)
	for _, p := range []struct {
		name string
		to   reg.GPPhysical
	}{{"count", amxCount}, {"rs", amxRS}, {"ks", amxKS}, {"gs", amxGS}, {"a", amxNextA}, {"c", amxC}, {"ldc", amxLDC}} {
		g.Load(g.Param(p.name), p.to)
	}
	g.MOVQ(operand.U32(amxPanelRow), amxPanelPitch)
	g.Label("next")
	g.start()
	g.multiply()
	g.sums("TILESTORED", 0x4B, prefixF3)
	g.MOVQ(amxLeft, amxC) // of the row of tiles that follows
	for range g.rows {
		g.ADDQ(amxGS, amxNextA)
	}
	g.DECQ(amxCount)
	g.JNZ(operand.LabelRef("next"))
	g.registers("TILERELEASE", 0x49, 0, 0, 0, prefixNone)
	g.RET()
}

// start loads the tiles of c, or sets them to 0.
func (g *gemmAMX) start() {
	g.Load(g.Param("add"), amxSteps.As8())
	g.TESTB(amxSteps.As8(), amxSteps.As8())
	g.JZ(operand.LabelRef("zero"))
	g.sums("TILELOADD", 0x4B, prefixF2)
	g.JMP(operand.LabelRef("started"))
	g.Label("zero")
	for i := range g.rows {
		for j := range g.cols {
			g.registers("TILEZERO", 0x49, 2*i+j, 0, 0, prefixF2)
		}
	}
	g.Label("started")
}

// sums loads or stores the tiles of c, and leaves the address of the row of tiles that follows in
// amxLeft.
func (g *gemmAMX) sums(name string, opcode byte, prefix uint8) {
	g.MOVQ(amxC, amxLeft)
	g.MOVQ(amxLDC, amxRight)
	g.SHLQ(operand.U8(4), amxRight)
	for i := range g.rows {
		for j := range g.cols {
			g.memory(name, opcode, 2*i+j, prefix, amxLeft, amxLDC, amxTileRow*j)
		}
		g.ADDQ(amxRight, amxLeft)
	}
}

// multiply adds the products of all steps.
func (g *gemmAMX) multiply() {
	g.Load(g.Param("b"), amxPanel)
	g.Load(g.Param("steps"), amxSteps)
	g.MOVQ(amxNextA, amxLeft)
	if g.rows == 2 {
		g.LEAQ(operand.Mem{Base: amxNextA, Index: amxGS, Scale: 1}, amxRight)
	}
	g.Label("step")
	for j := range g.cols {
		g.memory("TILELOADD", 0x4B, amxB+j, prefixF2, amxPanel, amxPanelPitch, amxTileRow*j)
	}
	for i, a := range []reg.GPPhysical{amxLeft, amxRight}[:g.rows] {
		g.memory("TILELOADD", 0x4B, amxA+i, prefixF2, a, amxRS, 0)
		for j := range g.cols {
			g.registers("TDPBF16PS", 0x5C, 2*i+j, amxA+i, amxB+j, prefixF3)
		}
		g.ADDQ(amxKS, a)
	}
	g.ADDQ(operand.U32(amxPanelStep), amxPanel)
	g.DECQ(amxSteps)
	g.JNZ(operand.LabelRef("step"))
}

// The mandatory prefixes as a VEX prefix has them.
const (
	prefixNone = 0
	prefixF3   = 2
	prefixF2   = 3
)

// registers writes an instruction with register operands: VEX.128.prefix.0F38.W0 opcode 11:reg:rm
// (Intel's manual, volume 2).
func (g *gemmAMX) registers(name string, opcode byte, r, rm, v int, prefix uint8) {
	g.Commentf("%s tmm%d, tmm%d, tmm%d", name, r, rm, v)
	g.bytes(0xC4, 0xE2, byte(^v&15)<<3|prefix, opcode, byte(3<<6|r<<3|rm))
}

// memory writes an instruction with a tile and rows in memory, index bytes apart.
func (g *gemmAMX) memory(name string, opcode byte, tile int, prefix uint8, base, index reg.GPPhysical, disp int) {
	const map0F38, noX, noB, noR = 2, 1 << 6, 1 << 5, 1 << 7
	low := func(r reg.GPPhysical) byte { return byte(r.PhysicalIndex() & 7) }
	first := byte(map0F38 | noR | noX | noB)
	sib := byte(4<<3) | low(base) // no index
	if index != nil {
		g.Commentf("%s tmm%d, %d(%s)(%s*1)", name, tile, disp, base.Asm(), index.Asm())
		sib = low(index)<<3 | low(base)
		if index.PhysicalIndex() > 7 {
			first &^= noX
		}
	} else {
		g.Commentf("%s (%s)", name, base.Asm())
	}
	if base.PhysicalIndex() > 7 {
		first &^= noB
	}
	const disp8, withSIB, noV = 1 << 6, 4, 15 << 3
	g.bytes(0xC4, first, noV|prefix, opcode, byte(disp8|tile<<3|withSIB), sib, byte(disp))
}

// bytes writes machine code.
func (g *gemmAMX) bytes(code ...byte) {
	for _, b := range code {
		g.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []operand.Op{operand.U8(b)}})
	}
}
