package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

func defineNeonDots(f *arm64.File) {
	for rows := 1; rows <= dotsRows; rows++ {
		for _, b := range []format{float32s, bf16s, f16s} {
			name := fmt.Sprintf("dots%sNEON_%d", b.name, rows)
			d := neonDots{format: b, rows: rows}
			d.Function = f.Function(name,
				fmt.Sprintf("func(k int, a *float32, lda int, b *%s, ldb, n int, c *float32, ldc int, alpha, beta float32)", b.element),
				fmt.Sprintf("%s takes %d rows of a; see %s.", name, rows, b.kernel))
			d.define()
		}
	}
}

// neonDots generates the dot products of a few rows of a with all rows of b, which are read once in
// order.
type neonDots struct {
	*arm64.Function
	format
	rows int

	acc     [][]*arm64.V // of each row of a
	rowsOfA []arm64.R    // where they begin
	atA     []arm64.R    // where they are read
	b, atB  arm64.R
	c, ldc  arm64.R
	alpha   *arm64.V
}

// unroll is the number of vectors of a step: four where one row of a must fill the vector units, two
// or, of 16 bits, two loads of eight.
func (d *neonDots) unroll() int {
	if d.format != float32s || d.rows == 1 {
		return 4
	}
	return 2
}

func (d *neonDots) define() {
	k, lda := d.Param("k"), bytesOf(d.Function, "lda", 2)
	d.rowsOfA = []arm64.R{d.Param("a")}
	for len(d.rowsOfA) < d.rows {
		next := d.Reg()
		d.Op("ADD %s, %s, %s", lda, d.rowsOfA[len(d.rowsOfA)-1], next)
		d.rowsOfA = append(d.rowsOfA, next)
	}
	for range d.rows {
		d.atA = append(d.atA, d.Reg())
		d.acc = append(d.acc, d.Vecs(d.unroll()))
	}
	d.b, d.atB = d.Param("b"), d.Reg()
	ldb, n := bytesOf(d.Function, "ldb", int(d.shift)), d.Param("n")
	d.c, d.ldc = d.Param("c"), bytesOf(d.Function, "ldc", 2)
	d.alpha = d.Pinned()
	d.Broadcast(d.alpha, "alpha")
	beta, bits := d.Pinned(), d.Bits("beta")
	d.Broadcast(beta, "beta")
	d.Op("LSLW $1, %s, %s", bits, bits) // -0 is 0 too

	d.Label("row")
	for r, accs := range d.acc {
		for _, v := range accs {
			d.Zero(v)
		}
		d.Op("MOVD %s, %s", d.rowsOfA[r], d.atA[r])
	}
	d.Op("MOVD %s, %s", d.b, d.atB)
	rest := d.Reg()
	d.Op("SUBS $%d, %s, %s", 4*d.unroll(), k, rest)
	d.Branch("BLT vectors")
	d.Label("steps")
	d.step(d.unroll())
	d.Op("SUBS $%d, %s, %s", 4*d.unroll(), rest, rest)
	d.Branch("BGE steps")
	d.Label("vectors")
	if d.format == float32s {
		d.tail(rest)
	}
	d.write(beta, bits)
	d.Op("ADD %s, %s, %s", ldb, d.b, d.b)
	d.Op("ADD $4, %s, %s", d.c, d.c)
	d.Op("SUBS $1, %s, %s", n, n)
	d.Branch("BNE row")
	d.Return()
}

// step adds the products of the next vectors, each to its own accumulators.
func (d *neonDots) step(vectors int) {
	b := make([]*arm64.V, vectors)
	for i := range b {
		b[i] = d.Vec()
	}
	d.loadB(b)
	for r := range d.rows {
		for i := 0; i < vectors; i += 2 {
			a0, a1 := d.Vec(), d.Vec()
			d.LoadPairNext(a0, a1, d.atA[r], 32)
			d.FMLA(d.acc[r][i], b[i], a0)
			d.FMLA(d.acc[r][i+1], b[i+1], a1)
		}
	}
}

func (d *neonDots) loadB(b []*arm64.V) {
	for i := 0; i < len(b); i += 2 {
		if d.format == float32s {
			d.LoadPairNext(b[i], b[i+1], d.atB, 32)
			continue
		}
		narrow := d.Vec()
		d.LoadNext(arm64.Four, narrow, d.atB, 16)
		widenNeon(d.Function, d.format, b[i], b[i+1], narrow)
	}
}

// widenNeon widens eight values of 16 bits.
func widenNeon(f *arm64.Function, from format, low, high, narrow *arm64.V) {
	if from == bf16s {
		f.BF16Low(low, narrow)
		f.BF16High(high, narrow)
		return
	}
	f.FCVTL(low, narrow)
	f.FCVTL2(high, narrow)
}

// tail adds the products of fewer values than a step, four and then one at a time; rest is their
// number less that of a step.
func (d *neonDots) tail(rest arm64.R) {
	single := func(w arm64.Width, bytes int) {
		b := d.Vec()
		d.LoadNext(w, b, d.atB, bytes)
		for r := range d.rows {
			a := d.Vec()
			d.LoadNext(w, a, d.atA[r], bytes)
			d.FMLA(d.acc[r][0], b, a)
		}
	}
	d.Op("ADDS $%d, %s, %s", 4*(d.unroll()-1), rest, rest)
	d.Branch("BLT values")
	d.Label("quads")
	single(arm64.Four, 16)
	d.Op("SUBS $4, %s, %s", rest, rest)
	d.Branch("BGE quads")
	d.Label("values")
	d.Op("ADDS $3, %s, %s", rest, rest)
	d.Branch("BLT sum")
	d.Label("value")
	single(arm64.One, 4)
	d.Op("SUBS $1, %s, %s", rest, rest)
	d.Branch("BGE value")
	d.Label("sum")
}

// write reduces the accumulators and writes alpha times the sums, plus beta times c.
func (d *neonDots) write(beta *arm64.V, bits arm64.R) {
	at := d.atB
	d.Op("MOVD %s, %s", d.c, at)
	for r, accs := range d.acc {
		for n := len(accs) / 2; n > 0; n /= 2 {
			for i := range n {
				d.FADD(accs[i], accs[i], accs[i+n])
			}
		}
		d.FADDP(accs[0], accs[0], accs[0])
		d.FADDPair(accs[0], accs[0])
		d.FMULS(accs[0], accs[0], d.alpha)
		label := fmt.Sprintf("store%d", r)
		d.Branch("CBZW %s, %s", bits, label)
		old := d.Vec()
		d.Load(arm64.One, old, at, 0)
		d.FMADDS(accs[0], accs[0], old, beta)
		d.Label(label)
		d.Store(arm64.One, accs[0], at, 0)
		if r+1 < d.rows {
			d.Op("ADD %s, %s, %s", d.ldc, at, at)
		}
	}
}
