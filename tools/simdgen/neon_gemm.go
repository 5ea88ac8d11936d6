package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

// The NEON microkernels keep 6 × 16 of c in 24 of the 32 registers, which leaves four for a row of
// b and four for values of a. These are factors by lane of FMLA: a broadcast would take one of the
// two vector units of a Cortex-A76, where a load of one value takes none.
const (
	neonRows = 6
	neonCols = 16
	quads    = neonCols / 4 // vectors of a row of c
)

func defineNeonGemm(f *arm64.File) {
	for rows := 1; rows <= neonRows; rows++ {
		g := neonGemm{rows: rows}
		g.Function = f.Function(fmt.Sprintf("gemmNEON_%d", rows),
			"func(k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc, n int, alpha, beta float32)",
			fmt.Sprintf("gemmNEON_%d computes %d rows of c, at most %d columns; see Microkernel.", rows, rows, neonCols))
		g.define()
	}
}

// neonGemm generates the microkernel for a number of rows of c.
type neonGemm struct {
	*arm64.Function
	rows int

	acc         [][]*arm64.V
	k, a, b     arm64.R
	rs, ks, ldb arm64.R
	c, ldc, n   arm64.R
	pointers    []arm64.R // of the rows of a
}

func (g *neonGemm) define() {
	g.k, g.a, g.b = g.Param("k"), g.Param("a"), g.Param("b")
	g.rs, g.ks, g.ldb = bytesOf(g.Function, "rs", 2), bytesOf(g.Function, "ks", 2), bytesOf(g.Function, "ldb", 2)
	for range g.rows {
		g.acc = append(g.acc, g.Vecs(quads))
	}
	for _, row := range g.acc {
		for _, v := range row {
			g.Zero(v)
		}
	}
	if g.rows > 1 {
		g.Op("CMP $4, %s", g.rs)
		g.Branch("BEQ together")
	}
	g.apart()
	if g.rows > 1 {
		g.Branch("B write")
		g.Label("together")
		g.together()
		g.Label("write")
	}
	g.scale()
	g.write()
}

// apart sums over k where the values of a's column lie anywhere.
func (g *neonGemm) apart() {
	g.pointers = []arm64.R{g.a}
	for len(g.pointers) < g.rows {
		next := g.Reg()
		g.Op("ADD %s, %s, %s", g.rs, g.pointers[len(g.pointers)-1], next)
		g.pointers = append(g.pointers, next)
	}
	at := g.Reg()
	g.Op("MOVD ZR, %s", at)
	g.loop("apart", func(b []*arm64.V) {
		for r, p := range g.pointers {
			value := g.Vec()
			g.LoadIndex(arm64.One, value, p, at)
			g.multiply(r, b, value, 0)
		}
		g.Op("ADD %s, %s, %s", g.ks, at, at)
	})
}

// together sums over k where the values of a's column lie beside each other, as in a packed panel.
func (g *neonGemm) together() {
	g.loop("beside", func(b []*arm64.V) {
		for r := 0; r < g.rows; {
			width, n := arm64.One, 1
			switch rest := g.rows - r; {
			case rest >= 4:
				width, n = arm64.Four, 4
			case rest >= 2:
				width, n = arm64.Two, 2
			}
			values := g.Vec()
			g.Load(width, values, g.a, 4*r)
			for i := range n {
				g.multiply(r+i, b, values, i)
			}
			r += n
		}
		g.Op("ADD %s, %s, %s", g.ks, g.a, g.a)
	})
}

// loop runs body for every row of b.
func (g *neonGemm) loop(label string, body func(b []*arm64.V)) {
	g.Label(label)
	b := make([]*arm64.V, quads)
	for i := range b {
		b[i] = g.Vec()
	}
	g.LoadPair(b[0], b[1], g.b, 0)
	g.LoadPair(b[2], b[3], g.b, 32)
	g.Op("ADD %s, %s, %s", g.ldb, g.b, g.b)
	body(b)
	g.Op("SUBS $1, %s, %s", g.k, g.k)
	g.Branch("BNE %s", label)
}

func (g *neonGemm) multiply(r int, b []*arm64.V, a *arm64.V, lane int) {
	for i, v := range g.acc[r] {
		g.FMLALane(v, b[i], a, lane)
	}
}

func (g *neonGemm) scale() {
	alpha := g.Pinned()
	g.Broadcast(alpha, "alpha")
	for _, row := range g.acc {
		for _, v := range row {
			g.FMUL(v, v, alpha)
		}
	}
	g.Free(alpha)
}

// write adds beta·c and stores. With beta = 0 it does not read c.
func (g *neonGemm) write() {
	g.c, g.ldc, g.n = g.Param("c"), bytesOf(g.Function, "ldc", 2), g.Param("n")
	beta, bits := g.Pinned(), g.Bits("beta")
	g.Broadcast(beta, "beta")
	g.Op("LSLW $1, %s, %s", bits, bits) // -0 is 0 too
	g.Branch("CBNZW %s, add", bits)
	g.partOrWhole("store", nil)
	g.Label("add")
	g.partOrWhole("addto", beta)
}

func (g *neonGemm) partOrWhole(label string, beta *arm64.V) {
	g.Op("CMP $%d, %s", neonCols, g.n)
	g.Branch("BLT %s_part", label)
	for _, row := range g.acc {
		for i := 0; i < quads; i += 2 {
			if beta != nil {
				old0, old1 := g.Vec(), g.Vec()
				g.LoadPair(old0, old1, g.c, 16*i)
				g.FMLA(row[i], old0, beta)
				g.FMLA(row[i+1], old1, beta)
			}
			g.StorePair(row[i], row[i+1], g.c, 16*i)
		}
		g.Op("ADD %s, %s, %s", g.ldc, g.c, g.c)
	}
	g.Return()
	g.Label(label + "_part")
	at := g.Reg()
	for r, row := range g.acc {
		g.Op("MOVD %s, %s", g.c, at)
		g.Op("ADD %s, %s, %s", g.ldc, g.c, g.c)
		g.part(fmt.Sprintf("%s_%d", label, r), row, at, beta)
	}
	g.Return()
}

// part writes fewer than all columns of a row: eight, four, two and one by the bits of n. What
// remains moves to the row's first vectors.
func (g *neonGemm) part(label string, row []*arm64.V, at arm64.R, beta *arm64.V) {
	out := func(w arm64.Width, v *arm64.V, bytes int) {
		if beta != nil {
			old := g.Vec()
			g.Load(w, old, at, 0)
			g.FMLA(v, old, beta)
		}
		g.StoreNext(w, v, at, bytes)
	}
	g.Branch("TBZ $3, %s, %s_4", g.n, label)
	out(arm64.Four, row[0], 16)
	out(arm64.Four, row[1], 16)
	g.Copy(row[0], row[2])
	g.Copy(row[1], row[3])
	g.Label(label + "_4")
	g.Branch("TBZ $2, %s, %s_2", g.n, label)
	out(arm64.Four, row[0], 16)
	g.Copy(row[0], row[1])
	g.Label(label + "_2")
	g.Branch("TBZ $1, %s, %s_1", g.n, label)
	out(arm64.Two, row[0], 8)
	g.High(row[0], row[0])
	g.Label(label + "_1")
	g.Branch("TBZ $0, %s, %s_0", g.n, label)
	out(arm64.One, row[0], 4)
	g.Label(label + "_0")
}
