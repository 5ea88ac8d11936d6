package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The microkernels keep rows × two vectors of c in registers: 12 × 32 of the 32
// AVX-512 registers, 6 × 16 of the 16 AVX2 ones, which leaves registers for a row of
// b and the broadcast values of a (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008).
func gemmRows(s isa) int {
	if s.wide {
		return 12
	}
	return 6
}

// aRows is the number of rows of a that one pointer addresses: base, base+rs and base+2·rs.
const aRows = 3

func defineGemm(c *build.Context, s isa) {
	iota := laneNumbers(c, "gemmLanes"+s.name, 2*s.lanes)
	for rows := 1; rows <= gemmRows(s); rows++ {
		g := gemm{Context: c, isa: s, rows: rows, lanes: iota}
		g.define()
	}
}

// gemm generates the microkernel for a number of rows of c.
type gemm struct {
	*build.Context
	isa
	rows  int
	lanes operand.Mem

	acc [][2]reg.Register
}

func (g *gemm) define() {
	function(g.Context, fmt.Sprintf("gemm%s_%d", g.name, g.rows),
		"func(k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc, n int, alpha, beta float32)",
		fmt.Sprintf("%d rows of c, at most %d columns; see Microkernel.", g.rows, 2*g.isa.lanes))
	g.accumulate()
	g.scale()
	g.write()
}

// accumulate sums a·b over k into the registers of c.
func (g *gemm) accumulate() {
	k, b := param(g.Context, "k"), param(g.Context, "b")
	rs, ks, ldb := g.stride("rs"), g.stride("ks"), g.stride("ldb")
	a := g.rowPointers(rs)
	for range g.rows {
		g.acc = append(g.acc, [2]reg.Register{g.zero(g.Context), g.zero(g.Context)})
	}
	g.Label("loop")
	b0, b1 := g.vector(g.Context), g.vector(g.Context)
	g.VMOVUPS(operand.Mem{Base: b}, b0)
	g.VMOVUPS(operand.Mem{Base: b, Disp: g.bytes()}, b1)
	for r, acc := range g.acc {
		m, value := operand.Mem{Base: a[r/aRows]}, g.vector(g.Context)
		if r%aRows > 0 {
			m.Index, m.Scale = rs, uint8(r%aRows)
		}
		g.VBROADCASTSS(m, value)
		g.VFMADD231PS(b0, value, acc[0])
		g.VFMADD231PS(b1, value, acc[1])
	}
	for _, p := range a {
		g.ADDQ(ks, p)
	}
	g.ADDQ(ldb, b)
	g.DECQ(k)
	g.JNZ(operand.LabelRef("loop"))
}

// stride is a parameter counted in elements, as bytes.
func (g *gemm) stride(name string) reg.GPVirtual {
	r := param(g.Context, name)
	g.SHLQ(operand.U8(2), r)
	return r
}

func (g *gemm) rowPointers(rs reg.GPVirtual) []reg.GPVirtual {
	a := []reg.GPVirtual{param(g.Context, "a")}
	for len(a)*aRows < g.rows {
		next := g.GP64()
		g.LEAQ(operand.Mem{Base: a[len(a)-1], Index: rs, Scale: 2}, next)
		g.ADDQ(rs, next)
		a = append(a, next)
	}
	return a
}

func (g *gemm) scale() {
	alpha := g.broadcastParam(g.Context, "alpha")
	for _, acc := range g.acc {
		g.VMULPS(alpha, acc[0], acc[0])
		g.VMULPS(alpha, acc[1], acc[1])
	}
}

// write adds beta·c and stores. With beta = 0 it does not read c. AVX2's masked moves are
// slow on some processors, so that full rows are stored without masks.
func (g *gemm) write() {
	c, ldc := param(g.Context, "c"), g.stride("ldc")
	beta := g.broadcastParam(g.Context, "beta")
	bits := g.GP32()
	g.MOVL(address(g.Context, "beta"), bits)
	g.SHLL(operand.U8(1), bits) // -0 is 0 too
	g.JNZ(operand.LabelRef("add"))
	g.partOrWhole(func(masks [2]reg.Register) { g.rowsOut(c, ldc, masks, nil) }, "store")
	g.Label("add")
	g.partOrWhole(func(masks [2]reg.Register) { g.rowsOut(c, ldc, masks, beta) }, "addto")
}

func (g *gemm) partOrWhole(out func(masks [2]reg.Register), name string) {
	if !g.wide {
		g.CMPQ(address(g.Context, "n"), operand.U8(2*g.isa.lanes))
		g.JL(operand.LabelRef(name + "_part"))
		out([2]reg.Register{})
		g.VZEROUPPER()
		g.RET()
		g.Label(name + "_part")
	}
	count := g.broadcastInt(g.Context, "n")
	out([2]reg.Register{g.mask(g.Context, g.lanes, count, 0), g.mask(g.Context, g.lanes, count, g.isa.lanes)})
	g.VZEROUPPER()
	g.RET()
}

func (g *gemm) rowsOut(c, ldc reg.GPVirtual, masks [2]reg.Register, beta reg.Register) {
	for r, acc := range g.acc {
		if r > 0 {
			g.ADDQ(ldc, c)
		}
		for i, v := range acc {
			m := operand.Mem{Base: c, Disp: i * g.bytes()}
			if beta != nil {
				old := g.vector(g.Context)
				g.load(g.Context, m, masks[i], old)
				g.VFMADD231PS(old, beta, v)
			}
			g.store(g.Context, v, masks[i], m)
		}
	}
}
