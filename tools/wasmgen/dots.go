package main

import (
	"fmt"

	"patchwork/tools/wasmgen/wasm"
)

// dotsRows is the maximum number of rows of a.
const dotsRows = 4

// element is a float type in memory.
type element struct {
	name, goType, kernel string
	shift                int // 1<<shift bytes
}

var (
	float32s = element{"", "float32", "DotsKernel", 2}
	bf16s    = element{"BF16", "uint16", "NarrowDotsKernel", 1}
	f16s     = element{"F16", "uint16", "NarrowDotsKernel", 1}
)

// load reads four values.
func (e element) load(f *wasm.Function, p wasm.I32) wasm.V128 {
	switch e {
	case bf16s:
		return p.Load16x4U(0).I32x4Shl(16)
	case f16s:
		return widenF16(f, p.Load16x4U(0).I32x4Shl(16))
	}
	return p.Load(0)
}

// widenF16 converts the F16 values in the upper halves of the lanes; the lower halves are ignored. The
// exponent moves to that of a float32 that is 2^112 times too small, or denormal as the F16 is; what
// becomes 2^16 or more, where F16 has none, is infinite or NaN.
func widenF16(f *wasm.Function, x wasm.V128) wasm.V128 {
	v := f.Vec(x.I32x4ShrS(3).And(f.Const(wasm.Words(0x8fffe000))).F32x4Mul(f.Const(wasm.Floats(0x1p112))))
	return f.Vec(v.Or(v.F32x4Abs().F32x4Ge(f.Const(wasm.Floats(65536))).And(f.Const(wasm.Words(0x7f800000)))))
}

func defineDots(m *wasm.Module) {
	for rows := 1; rows <= dotsRows; rows++ {
		for _, e := range []element{float32s, bf16s, f16s} {
			name := fmt.Sprintf("dots%s_%d", e.name, rows)
			d := dots{element: e, rows: rows, Function: m.Function(name,
				fmt.Sprintf("func(k int32, a *float32, lda int32, b *%s, ldb, n int32, c *float32, ldc int32, alpha, beta float32)", e.goType),
				fmt.Sprintf("%s takes %d rows of a; see %s.", name, rows, e.kernel))}
			d.define()
		}
	}
}

// dots generates the dot products of a few rows of a with all rows of b. Each is the sum of four lanes,
// whatever is computed beside it.
type dots struct {
	*wasm.Function
	element
	rows int

	k, a, lda, b, ldb wasm.I32
	c, ldc            wasm.I32
	out               output
}

func (d *dots) define() {
	d.k, d.a, d.b, d.c = d.Param("k"), d.Param("a"), d.Param("b"), d.Param("c")
	d.lda, d.ldb, d.ldc = d.Int(d.Param("lda").Shl(2)), d.Int(d.Param("ldb").Shl(d.shift)), d.Int(d.Param("ldc").Shl(2))
	d.out = output{d.Function, d.FloatParam("beta"), d.Vec(d.FloatParam("beta").Splat())}
	n, together := d.Param("n"), 8/max(d.rows, 2) // sums that fit the registers
	d.While(n.GeS(wasm.Int(together)), func() {
		d.columns(together)
		d.Set(n, n.Sub(wasm.Int(together)))
	})
	d.While(n, func() {
		d.columns(1)
		d.Set(n, n.Sub(wasm.Int(1)))
	})
}

// columns computes the next columns of c.
func (d *dots) columns(columns int) {
	a, b := d.pointers(d.a, d.lda, d.rows), d.pointers(d.b, d.ldb, columns)
	sums := make([][]wasm.V128, d.rows)
	for r := range sums {
		sums[r] = d.Vecs(columns)
	}
	rest := d.Int(d.k.Sub(wasm.Int(4)))
	d.While(rest.GeS(wasm.Int(0)), func() {
		d.add(sums, a, b, 4, func(p wasm.I32) wasm.V128 { return p.Load(0) }, func(p wasm.I32) wasm.V128 { return d.load(d.Function, p) })
		d.Set(rest, rest.Sub(wasm.Int(4)))
	})
	if d.element == float32s {
		one := func(p wasm.I32) wasm.V128 { return p.Load32Zero(0) }
		d.Set(rest, rest.Add(wasm.Int(4)))
		d.While(rest, func() {
			d.add(sums, a, b, 1, one, one)
			d.Set(rest, rest.Sub(wasm.Int(1)))
		})
	}
	d.write(sums)
	d.Set(d.b, d.b.Add(d.ldb.Mul(wasm.Int(columns))))
	d.Set(d.c, d.c.Add(wasm.Int(4*columns)))
}

// pointers are the addresses of n rows.
func (d *dots) pointers(first, stride wasm.I32, n int) []wasm.I32 {
	p := []wasm.I32{d.Int(first)}
	for len(p) < n {
		p = append(p, d.Int(p[len(p)-1].Add(stride)))
	}
	return p
}

// add adds the products of the next values and moves the pointers on.
func (d *dots) add(sums [][]wasm.V128, a, b []wasm.I32, values int, loadA, loadB func(p wasm.I32) wasm.V128) {
	var x []wasm.V128
	for _, p := range a {
		x = append(x, d.Vec(loadA(p)))
		d.Set(p, p.Add(wasm.Int(4*values)))
	}
	for j, p := range b {
		y := d.Vec(loadB(p))
		for r := range a {
			d.MulAdd(sums[r][j], x[r], y)
		}
		d.Set(p, p.Add(wasm.Int(values<<d.shift)))
	}
}

// write reduces the sums and stores alpha times each, plus beta times c.
func (d *dots) write(sums [][]wasm.V128) {
	at := d.Int(d.c)
	for r, row := range sums {
		for j, v := range row {
			d.Set(v, v.F32x4Add(v.Words(v, [4]byte{2, 3, 2, 3})))
			d.Set(v, v.F32x4Add(v.Words(v, [4]byte{1, 1, 1, 1})).F32x4Mul(d.FloatParam("alpha").Splat()))
			d.out.store(4, at, 4*j, v)
		}
		if r+1 < len(sums) {
			d.Set(at, at.Add(d.ldc))
		}
	}
}
