package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Sizes of simd.Block and simd.Scale.
const (
	blockBytes, blockStarts = 64, 32
	scaleBytes, scaleSum    = 8, 4
)

// quantDotsRows is the maximum number of rows of a, by what fits the registers.
func quantDotsRows(s isa) int {
	if s.wide {
		return 4
	}
	return 2
}

func defineQuantDots(c *build.Context, s isa) {
	u := newUnpacker(c, s, "quantDots"+s.name, blockFormat{})
	for _, f := range blockFormats {
		for rows := 1; rows <= quantDotsRows(s); rows++ {
			u.blockFormat, u.known = f, map[operand.Mem]reg.Register{}
			d := quantDots{unpacker: u, rows: rows}
			d.define()
		}
	}
}

// quantDots generates the dot products of a few rows of 8-bit values with all rows of b. A vector
// has eight sums of four products; blocks alternate between two accumulators, which hides the
// latency of additions.
type quantDots struct {
	*unpacker
	rows int

	a, scales, b, left reg.GPVirtual
	acc, mins          [][2]reg.VecVirtual // of each row of a
	weights            operand.Mem         // on the stack: scales of the groups of a block of 256, then minima
	upperHalf          reg.Register        // mask of the upper four lanes, for Q6_K
}

// blocksAtOnce is the number of blocks of a in a step of the loop.
func (d *quantDots) blocksAtOnce() int {
	if d.large {
		return 8
	}
	return 2
}

func (d *quantDots) define() {
	function(d.Context, fmt.Sprintf("dots%s%s_%d", d.blockFormat.name, d.isa.name, d.rows),
		"func(blocks int, a *int8, scales *float32, b *byte, n int, c *float32, ldc int, beta float32)",
		fmt.Sprintf("%d rows of a; see Dots.", d.rows))
	if d.large {
		d.weights = d.AllocLocal(64)
	}
	d.b = param(d.Context, "b")
	c, n, ldc := param(d.Context, "c"), param(d.Context, "n"), param(d.Context, "ldc")
	d.SHLQ(operand.U8(2), ldc)
	d.hold()
	if d.wide && d.blockFormat == q6_K {
		d.upperHalf = d.mask8(0xF0)
	}
	d.a, d.scales, d.left = d.GP64(), d.GP64(), d.GP64()

	d.Label("row")
	d.acc, d.mins = nil, nil
	for range d.rows {
		d.acc = append(d.acc, [2]reg.VecVirtual{d.clear(), d.clear()})
		if d.min {
			d.mins = append(d.mins, [2]reg.VecVirtual{d.clear(), d.clear()})
		}
	}
	d.MOVQ(address(d.Context, "a"), d.a)
	d.MOVQ(address(d.Context, "scales"), d.scales)
	d.MOVQ(address(d.Context, "blocks"), d.left)
	step := d.blocksAtOnce()
	if !d.large {
		d.SUBQ(operand.U8(step), d.left)
		d.JL(operand.LabelRef("last"))
	}
	d.Label("blocks")
	if d.large {
		d.largeBlock()
		d.ADDQ(operand.I32(d.size), d.b)
	} else {
		d.smallBlock(0)
		d.smallBlock(1)
		d.ADDQ(operand.I32(2*d.size), d.b)
	}
	d.ADDQ(operand.I32(step*d.rows*blockBytes), d.a)
	d.ADDQ(operand.I32(step*d.rows*scaleBytes), d.scales)
	d.SUBQ(operand.U8(step), d.left)
	if d.large {
		d.JNZ(operand.LabelRef("blocks"))
	} else {
		d.JGE(operand.LabelRef("blocks"))
		d.Label("last")
		d.TESTQ(operand.U32(1), d.left)
		d.JZ(operand.LabelRef("sum"))
		d.smallBlock(0)
		d.ADDQ(operand.I32(d.size), d.b)
		d.Label("sum")
	}
	d.write(c, ldc)
	d.ADDQ(operand.I8(4), c)
	d.DECQ(n)
	d.JNZ(operand.LabelRef("row"))
	d.VZEROUPPER()
	d.RET()
}

func (d *quantDots) clear() reg.VecVirtual {
	v := d.YMM()
	d.zero(v)
	return v
}

// smallBlock adds the products with block i of 32 values from here on.
func (d *quantDots) smallBlock(i int) {
	block := operand.Mem{Base: d.b, Disp: i * d.size}
	scale := d.YMM()
	if d.min {
		both := d.XMM() // scale, minimum, 0, 0
		d.VMOVD(block, both)
		d.VCVTPH2PS(both, both)
		for r := range d.rows {
			pair := d.XMM()
			d.VMOVQ(d.scaleOf(i, r, 0), pair)
			d.VFMADD231PS(pair, both, d.mins[r][i].AsX()) // lane 1
		}
		d.VBROADCASTSS(both, scale)
	} else {
		d.VPBROADCASTW(block, scale.AsX())
		d.VCVTPH2PS(scale.AsX(), scale)
	}
	v := d.small(block)
	var magnitudes reg.VecVirtual
	if d.blockFormat == q8_0 {
		if d.wide {
			d.xor(d.held(d.signs()), v)
		} else {
			magnitudes = d.YMM()
			d.VPABSB(v, magnitudes)
		}
	}
	for r := range d.rows {
		products, weight := d.dot(i, r, v, magnitudes), d.YMM()
		if d.wide {
			d.VMULPS_BCST(d.scaleOf(i, r, 0), scale, weight)
		} else {
			d.VBROADCASTSS(d.scaleOf(i, r, 0), weight)
			d.VMULPS(scale, weight, weight)
		}
		d.VFMADD231PS(weight, products, d.acc[r][i])
	}
}

// valuesOf and scaleOf are the addresses of block i of row r of a.
func (d *quantDots) valuesOf(i, r, disp int) operand.Mem {
	return operand.Mem{Base: d.a, Disp: (i*d.rows+r)*blockBytes + disp}
}

func (d *quantDots) scaleOf(i, r, disp int) operand.Mem {
	return operand.Mem{Base: d.scales, Disp: (i*d.rows+r)*scaleBytes + disp}
}

// dot is the products of block i of row r of a with v, eight sums of four, as floats. With
// magnitudes, v is signed.
func (d *quantDots) dot(i, r int, v, magnitudes reg.VecVirtual) reg.VecVirtual {
	t := d.YMM()
	if d.wide {
		if d.offset != 0 {
			d.move(d.valuesOf(i, r, blockStarts), t)
		} else {
			d.zero(t)
		}
		d.multiplyBytes(d.valuesOf(i, r, 0), v, t)
		d.VCVTDQ2PS(t, t)
		return t
	}
	if magnitudes != nil {
		d.VMOVDQU(d.valuesOf(i, r, 0), t)
		d.VPSIGNB(v, t, t)
		d.VPMADDUBSW(t, magnitudes, t)
	} else {
		d.VPMADDUBSW(d.valuesOf(i, r, 0), v, t)
	}
	d.VPMADDWD(d.words(1), t, t)
	if d.offset != 0 && magnitudes == nil {
		d.VPADDD(d.valuesOf(i, r, blockStarts), t, t)
	}
	d.VCVTDQ2PS(t, t)
	return t
}

// multiplyBytes writes VPDPBUSD, which avo does not know: sums += sums of four products of the unsigned
// bytes of v and the signed ones of a.
func (d *quantDots) multiplyBytes(a operand.Mem, v, sums reg.VecVirtual) {
	d.Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Operands: []operand.Op{a, v, sums},
		Inputs: []operand.Op{a, v, sums}, Outputs: []operand.Op{sums}, ISA: []string{"AVX512_VNNI", "AVX512VL"},
	})
}

// largeBlock adds the products with a block of 256 values.
func (d *quantDots) largeBlock() {
	block := operand.Mem{Base: d.b}
	if d.min {
		d.storeScalesAndMins(block)
	} else {
		d.storeScales(block)
	}
	for g := range 8 {
		v := d.group(block, g)
		var weight reg.VecVirtual
		if !d.min || !d.wide {
			weight = d.groupScale(g)
		}
		for r := range d.rows {
			products := d.dot(g, r, v, nil)
			if d.wide {
				d.VMULPS_BCST(d.scaleOf(g, r, 0), products, products)
			} else {
				scale := d.YMM()
				d.VBROADCASTSS(d.scaleOf(g, r, 0), scale)
				d.VMULPS(scale, products, products)
			}
			if weight != nil {
				d.VFMADD231PS(weight, products, d.acc[r][g%2])
			} else {
				d.VFMADD231PS_BCST(d.weights.Offset(4*g), products, d.acc[r][g%2])
			}
		}
		if !d.min {
			continue
		}
		low := d.XMM()
		d.VMOVSS(d.weights.Offset(32+4*g), low)
		for r := range d.rows {
			sum := d.XMM() // vet does not know the operand size of fused operations
			d.VMOVSS(d.scaleOf(g, r, scaleSum), sum)
			d.VFNMADD231SS(sum, low, d.mins[r][g%2].AsX())
		}
	}
}

// storeScalesAndMins stores the eight scales, then the eight minima of a block.
func (d *quantDots) storeScalesAndMins(block operand.Mem) {
	low, high := d.scalesAndMins(block)
	both, bytes, factor := d.XMM(), d.XMM(), d.XMM()
	d.VMOVQ(low, bytes)
	d.VPINSRQ(operand.U8(1), high, bytes, bytes)
	d.VPSHUFD(operand.U8(0xD8), bytes, bytes) // scales, scales, minima, minima
	d.VMOVD(block, both)
	d.VCVTPH2PS(both, both)
	for i := range 2 {
		x, f := d.YMM(), d.YMM()
		if i == 1 {
			d.VPSRLDQ(operand.U8(8), bytes, bytes)
			d.VMOVSHDUP(both, factor)
			d.VBROADCASTSS(factor, f)
		} else {
			d.VBROADCASTSS(both, f)
		}
		d.VPMOVZXBD(bytes, x)
		d.VCVTDQ2PS(x, x)
		d.VMULPS(f, x, x)
		d.VMOVUPS(x, d.weights.Offset(32*i))
	}
}

// storeScales stores the sixteen scales of a block of Q6_K.
func (d *quantDots) storeScales(block operand.Mem) {
	factor := d.YMM()
	d.VPBROADCASTW(block.Offset(208), factor.AsX())
	d.VCVTPH2PS(factor.AsX(), factor)
	for i := range 2 {
		x := d.YMM()
		d.VPMOVSXBD(block.Offset(192+8*i), x)
		d.VCVTDQ2PS(x, x)
		d.VMULPS(factor, x, x)
		d.VMOVUPS(x, d.weights.Offset(32*i))
	}
}

// groupScale is the scale of a group in every lane; Q6_K has one for each half of a group.
func (d *quantDots) groupScale(g int) reg.VecVirtual {
	w := d.YMM()
	if d.min {
		d.VBROADCASTSS(d.weights.Offset(4*g), w)
		return w
	}
	d.VBROADCASTSS(d.weights.Offset(8*g), w)
	if d.wide {
		d.VBROADCASTSS(d.weights.Offset(8*g+4), d.upperHalf, w)
		return w
	}
	upper := d.YMM()
	d.VBROADCASTSS(d.weights.Offset(8*g+4), upper)
	d.VBLENDPS(operand.U8(0xF0), upper, w, w)
	return w
}

// write adds up the accumulators of each row, and beta times c.
func (d *quantDots) write(c, ldc reg.GPVirtual) {
	bits, at := d.GP32(), d.GP64()
	d.MOVL(address(d.Context, "beta"), bits)
	d.MOVQ(c, at)
	for r := range d.rows {
		acc, upper := d.acc[r][0], d.XMM()
		d.VADDPS(d.acc[r][1], acc, acc)
		d.extract(acc, upper)
		x := foldHalves(d.Context, acc.AsX().(reg.VecVirtual), upper)
		if d.min {
			low := d.mins[r][0].AsX()
			d.VADDPS(d.mins[r][1].AsX(), low, low)
			if !d.large {
				d.VMOVSHDUP(low, low)
			}
			d.VADDSS(low, x, x)
		}
		label := fmt.Sprintf("store%d", r)
		d.TESTL(operand.U32(0x7fffffff), bits) // -0 is 0 too
		d.JZ(operand.LabelRef(label))
		old, beta := d.XMM(), d.XMM()
		d.VMOVSS(operand.Mem{Base: at}, old)
		d.VMOVSS(address(d.Context, "beta"), beta)
		d.VFMADD231SS(beta, old, x)
		d.Label(label)
		d.VMOVSS(x, operand.Mem{Base: at})
		if r+1 < d.rows {
			d.ADDQ(ldc, at)
		}
	}
}
