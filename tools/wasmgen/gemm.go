package main

import (
	"fmt"

	"patchwork/tools/wasmgen/wasm"
)

// The microkernel keeps 4 × 8 of c in 8 vectors, which leaves enough of the 16 registers of an x86
// processor for two vectors of b and values of a.
const (
	gemmRows = 4
	gemmCols = 8
)

func defineGemm(m *wasm.Module) {
	for rows := 1; rows <= gemmRows; rows++ {
		name := fmt.Sprintf("gemm_%d", rows)
		g := gemm{Function: m.Function(name,
			"func(k int32, a *float32, rs, ks int32, b *float32, ldb int32, c *float32, ldc, n int32, alpha, beta float32)",
			fmt.Sprintf("%s computes %d rows of c, at most %d columns; see Microkernel.", name, rows, gemmCols))}
		for range rows {
			g.acc = append(g.acc, g.Vecs(gemmCols/4))
		}
		g.define()
	}
}

// gemm generates the microkernel for a number of rows of c.
type gemm struct {
	*wasm.Function
	acc [][]wasm.V128 // of each row of c
}

func (g *gemm) define() {
	a, rs, ks := g.Param("a"), g.stride("rs"), g.stride("ks")
	g.IfElse(rs.Eq(wasm.Int(4)), func() {
		g.sum(func(r int) (wasm.I32, int) { return a, 4 * r }, func() { g.Set(a, a.Add(ks)) })
	}, func() {
		rows := []wasm.I32{a}
		for range len(g.acc) - 1 {
			rows = append(rows, g.Int(rows[len(rows)-1].Add(rs)))
		}
		g.sum(func(r int) (wasm.I32, int) { return rows[r], 0 }, func() {
			for _, p := range rows {
				g.Set(p, p.Add(ks))
			}
		})
	})
	g.write()
}

// stride is a parameter that counts elements of 4 bytes, in bytes.
func (g *gemm) stride(name string) wasm.I32 { return g.Int(g.Param(name).Shl(2)) }

// sum adds up the products over k. valueOfA is the address of the next value of row r of a, and an offset.
func (g *gemm) sum(valueOfA func(r int) (wasm.I32, int), next func()) {
	k, b, ldb := g.Param("k"), g.Param("b"), g.stride("ldb")
	g.Loop(func() wasm.I32 {
		var line []wasm.V128
		for i := range gemmCols / 4 {
			line = append(line, g.Vec(b.Load(16*i)))
		}
		for r, row := range g.acc {
			p, n := valueOfA(r)
			value := g.Vec(p.LoadSplat(n))
			for i, sum := range row {
				g.MulAdd(sum, line[i], value)
			}
		}
		next()
		g.Set(b, b.Add(ldb))
		g.Set(k, k.Sub(wasm.Int(1)))
		return k
	})
}

// write stores alpha times the sums, plus beta times c, which is not read where beta is 0.
func (g *gemm) write() {
	c, ldc, n := g.Param("c"), g.stride("ldc"), g.Param("n")
	alpha := g.Vec(g.FloatParam("alpha").Splat())
	beta := output{g.Function, g.FloatParam("beta"), g.Vec(g.FloatParam("beta").Splat())}
	for _, row := range g.acc {
		for _, sum := range row {
			g.Set(sum, sum.F32x4Mul(alpha))
		}
		g.IfElse(n.Eq(wasm.Int(gemmCols)), func() {
			for i, sum := range row {
				beta.store(16, c, 16*i, sum)
			}
		}, func() {
			at := g.Int(c)
			g.If(n.And(wasm.Int(4)), func() {
				beta.store(16, at, 0, row[0])
				g.Set(row[0], row[1])
				g.Set(at, at.Add(wasm.Int(16)))
			})
			beta.part(at, n, row[0])
		})
		g.Set(c, c.Add(ldc))
	}
}

// output adds beta times what c holds to what is stored there.
type output struct {
	*wasm.Function
	beta  wasm.F32
	betas wasm.V128 // in every lane
}

// store writes the first 16, 8 or 4 bytes of x.
func (o output) store(size int, p wasm.I32, n int, x wasm.V128) {
	old := map[int]func(int) wasm.V128{16: p.Load, 8: p.Load64Zero, 4: p.Load32Zero}[size]
	o.If(o.beta.Ne(wasm.Float(0)), func() { o.MulAdd(x, o.betas, old(n)) })
	if size == 16 {
		o.Store(p, n, x)
	} else {
		o.StoreLow(size, p, n, x)
	}
}

// part writes the first values of x by the two lowest bits of n. p and x are changed.
func (o output) part(p, n wasm.I32, x wasm.V128) {
	o.If(n.And(wasm.Int(2)), func() {
		o.store(8, p, 0, x)
		o.Set(x, x.Words(x, [4]byte{2, 3, 2, 3}))
		o.Set(p, p.Add(wasm.Int(8)))
	})
	o.If(n.And(wasm.Int(1)), func() { o.store(4, p, 0, x) })
}
