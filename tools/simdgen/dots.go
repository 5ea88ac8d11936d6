package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dotsRows is the maximum number of rows of a that are multiplied with each row of b while
// it is in registers.
const dotsRows = 4

func defineDots(c *build.Context, s isa) {
	iota := laneNumbers(c, "dotsLanes"+s.name, s.lanes)
	for rows := 1; rows <= dotsRows; rows++ {
		for _, f := range []format{float32s, bf16s, f16s} {
			d := dots{Context: c, isa: s, format: f, rows: rows, lanes: iota}
			d.define()
		}
	}
}

// dots generates the dot products of a few rows of a with all rows of b, which are read once
// in order, since decoding is bound by memory. Prefetch instructions made no difference.
type dots struct {
	*build.Context
	isa
	format // of b
	rows   int
	lanes  operand.Mem

	acc  [][]reg.Register // for each row of a, enough to hide the latency of additions
	a, b reg.GPVirtual
	lda  reg.GPVirtual
	at   reg.GPVirtual // byte in the rows of b
}

func (d *dots) define() {
	function(d.Context, fmt.Sprintf("dots%s%s_%d", d.format.name, d.isa.name, d.rows),
		fmt.Sprintf("func(k int, a *float32, lda int, b *%s, ldb, n int, c *float32, ldc int, alpha, beta float32)", d.element),
		fmt.Sprintf("%d rows of a; see %s.", d.rows, d.kernel))
	d.a, d.b = param(d.Context, "a"), param(d.Context, "b")
	c, n := param(d.Context, "c"), param(d.Context, "n")
	d.lda = param(d.Context, "lda")
	ldb, ldc := param(d.Context, "ldb"), param(d.Context, "ldc")
	for _, r := range []reg.GPVirtual{d.lda, ldc} {
		d.SHLQ(operand.U8(2), r)
	}
	d.SHLQ(operand.U8(d.shift), ldb)
	k, end, whole := param(d.Context, "k"), d.GP64(), d.GP64()
	unroll := max(2, 4/d.rows)
	d.MOVQ(k, end) // of whole vectors, in bytes
	d.ANDQ(operand.I32(-d.isa.lanes), end)
	d.SHLQ(operand.U8(d.shift), end)
	d.MOVQ(k, whole) // of whole steps
	d.ANDQ(operand.I32(-unroll*d.isa.lanes), whole)
	d.SHLQ(operand.U8(d.shift), whole)
	var mask reg.Register
	if d.format == float32s {
		mask = d.tail(k)
	}
	d.at = d.GP64()

	d.Label("row")
	d.acc = nil
	for range d.rows {
		var accs []reg.Register
		for range unroll {
			accs = append(accs, d.zero(d.Context))
		}
		d.acc = append(d.acc, accs)
	}
	d.XORQ(d.at, d.at)
	d.Label("steps")
	d.CMPQ(d.at, whole)
	d.JGE(operand.LabelRef("vectors"))
	for u := range unroll {
		d.multiply(u, u, nil)
	}
	d.ADDQ(operand.I32(unroll*d.step()), d.at)
	d.JMP(operand.LabelRef("steps"))
	d.Label("vectors")
	d.CMPQ(d.at, end)
	d.JGE(operand.LabelRef("part"))
	d.multiply(0, 0, nil)
	d.ADDQ(operand.I32(d.step()), d.at)
	d.JMP(operand.LabelRef("vectors"))
	d.Label("part")
	if mask != nil {
		d.TESTQ(operand.I32(d.isa.lanes-1), k)
		d.JZ(operand.LabelRef("sum"))
		d.multiply(0, 0, mask)
		d.Label("sum")
	}
	d.write(c, ldc)
	d.ADDQ(ldb, d.b)
	d.ADDQ(operand.I8(4), c)
	d.DECQ(n)
	d.JNZ(operand.LabelRef("row"))
	d.VZEROUPPER()
	d.RET()
}

// step is the number of bytes of b in a vector.
func (d *dots) step() int { return d.isa.lanes << d.shift }

// tail is the mask of the lanes of the last vector.
func (d *dots) tail(k reg.GPVirtual) reg.Register {
	rest, x, count := d.GP64(), d.XMM(), d.vector(d.Context)
	d.MOVQ(k, rest)
	d.ANDQ(operand.I32(d.isa.lanes-1), rest)
	d.VMOVD(rest.As32(), x)
	d.VPBROADCASTD(x, count)
	return d.isa.mask(d.Context, d.lanes, count, 0)
}

// multiply adds the products of vector number u from here on to accumulator i.
func (d *dots) multiply(u, i int, mask reg.Register) {
	b := d.vector(d.Context)
	d.widen(d.Context, d.isa, operand.Mem{Base: d.b, Index: d.at, Scale: 1, Disp: u * d.step()}, mask, b)
	row := d.GP64()
	d.LEAQ(operand.Mem{Base: d.a, Index: d.at, Scale: 4 >> d.shift}, row)
	for r := range d.rows {
		if r > 0 {
			d.ADDQ(d.lda, row)
		}
		m := operand.Mem{Base: row, Disp: u * d.bytes()}
		if mask == nil {
			d.VFMADD231PS(m, b, d.acc[r][i])
			continue
		}
		a := d.vector(d.Context)
		d.load(d.Context, m, mask, a)
		d.VFMADD231PS(a, b, d.acc[r][i])
	}
}

// write reduces the accumulators and writes alpha times the sums, plus beta times c.
func (d *dots) write(c, ldc reg.GPVirtual) {
	bits, at := d.GP32(), d.GP64()
	d.MOVL(address(d.Context, "beta"), bits)
	d.MOVQ(c, at)
	for r, accs := range d.acc {
		for n := len(accs) / 2; n > 0; n /= 2 {
			for i := range n {
				d.VADDPS(accs[i+n], accs[i], accs[i])
			}
		}
		x := d.fold(accs[0])
		d.VMULSS(address(d.Context, "alpha"), x, x)
		label := fmt.Sprintf("store%d", r)
		d.TESTL(operand.U32(0x7fffffff), bits) // -0 is 0 too
		d.JZ(operand.LabelRef(label))
		old := d.XMM()
		d.VMOVSS(operand.Mem{Base: at}, old)
		beta := d.XMM() // vet does not know the operand size of fused operations
		d.VMOVSS(address(d.Context, "beta"), beta)
		d.VFMADD231SS(beta, old, x)
		d.Label(label)
		d.VMOVSS(x, operand.Mem{Base: at})
		if r+1 < d.rows {
			d.ADDQ(ldc, at)
		}
	}
}

// fold sums the lanes of a vector.
func (d *dots) fold(v reg.Register) reg.VecVirtual {
	y := v.(reg.VecVirtual)
	if d.wide {
		half := d.YMM()
		d.VEXTRACTF64X4(operand.U8(1), y, half)
		d.VADDPS(half, y.AsY(), y.AsY())
	}
	upper := d.XMM()
	d.VEXTRACTF128(operand.U8(1), y.AsY(), upper)
	return foldHalves(d.Context, y.AsX().(reg.VecVirtual), upper)
}

// foldHalves sums the lanes of two vectors of four, and overwrites both.
func foldHalves(c *build.Context, x, other reg.VecVirtual) reg.VecVirtual {
	c.VADDPS(other, x, x)
	for _, order := range []uint8{0x4E, 0xB1} {
		c.VSHUFPS(operand.U8(order), x, x, other)
		c.VADDPS(other, x, x)
	}
	return x
}
