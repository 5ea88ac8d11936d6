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
	scaleBytes              = 8
	prefetchAhead           = 1024
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
	weights            operand.Mem         // on the stack: products of scales for a block of 256
	threePairs         reg.Register        // mask of the Scales of three rows
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
		d.weights = d.AllocLocal(64 * d.rows)
	}
	d.b = param(d.Context, "b")
	c, n, ldc := param(d.Context, "c"), param(d.Context, "n"), param(d.Context, "ldc")
	d.SHLQ(operand.U8(2), ldc)
	d.hold()
	if d.min && d.rows == 3 {
		d.threePairs = d.lowLanes(6)
	}
	d.a, d.scales, d.left = d.GP64(), d.GP64(), d.GP64()

	d.Label("row")
	d.acc = nil
	for range d.rows {
		d.acc = append(d.acc, [2]reg.VecVirtual{d.clear(), d.clear()})
	}
	d.clearMins()
	d.MOVQ(address(d.Context, "a"), d.a)
	d.MOVQ(address(d.Context, "scales"), d.scales)
	d.MOVQ(address(d.Context, "blocks"), d.left)
	step := d.blocksAtOnce()
	if !d.large {
		d.SUBQ(operand.U8(step), d.left)
		d.JL(operand.LabelRef("last"))
	}
	d.Label("blocks")
	d.PREFETCHT0(operand.Mem{Base: d.b, Disp: prefetchAhead})
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

// clearMins clears the accumulators of minima: for blocks of 256 one for each row, with eight of them
// in a vector, else two for all rows.
func (d *quantDots) clearMins() {
	d.mins = nil
	switch {
	case !d.min:
	case d.large:
		for range d.rows {
			d.mins = append(d.mins, [2]reg.VecVirtual{d.clear()})
		}
	default:
		d.mins = append(d.mins, [2]reg.VecVirtual{d.clear(), d.clear()})
	}
}

// lowLanes is a mask of n lanes.
func (d *quantDots) lowLanes(n int) reg.Register {
	bits, k := d.GP32(), d.K()
	d.MOVL(operand.U32(uint32(1)<<n-1), bits)
	d.KMOVW(bits, k)
	return k
}

func (d *quantDots) clear() reg.VecVirtual {
	v := d.YMM()
	d.zero(v)
	return v
}

// smallBlock adds the products with block i of 32 values from here on.
func (d *quantDots) smallBlock(i int) {
	block := operand.Mem{Base: d.b, Disp: i * d.size}
	scale := d.smallScale(block, i)
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
			d.VMULPS_BCST(d.scaleOf(i, r), scale, weight)
		} else {
			d.VBROADCASTSS(d.scaleOf(i, r), weight)
			d.VMULPS(scale, weight, weight)
		}
		d.VFMADD231PS(weight, products, d.acc[r][i])
	}
}

// smallScale broadcasts the scale of a block, and adds what its minimum contributes: to odd lanes, as it
// is multiplied by whole Scales.
func (d *quantDots) smallScale(block operand.Mem, i int) reg.VecVirtual {
	scale := d.YMM()
	if !d.min {
		d.VPBROADCASTW(block, scale.AsX())
		d.VCVTPH2PS(scale.AsX(), scale)
		return scale
	}
	both, low, pairs := d.XMM(), d.YMM(), d.YMM()
	d.VMOVD(block, both) // scale, minimum, 0, 0
	d.VCVTPH2PS(both, both)
	d.VBROADCASTSS(both, scale)
	if d.rows == 1 {
		d.VMOVQ(d.scaleOf(i, 0), pairs.AsX())
		d.VFMADD231PS(pairs.AsX(), both, d.mins[0][i].AsX())
		return scale
	}
	switch d.rows {
	case 2:
		d.VMOVUPS(d.scaleOf(i, 0), pairs.AsX())
	case 3:
		d.VMOVUPS_Z(d.scaleOf(i, 0), d.threePairs, pairs)
	default:
		d.VMOVUPS(d.scaleOf(i, 0), pairs)
	}
	d.VMOVSHDUP(both, both)
	d.VBROADCASTSS(both, low)
	d.VFMADD231PS(low, pairs, d.mins[0][i])
	return scale
}

// valuesOf and scaleOf are the addresses of block i of row r of a.
func (d *quantDots) valuesOf(i, r, disp int) operand.Mem {
	return operand.Mem{Base: d.a, Disp: (i*d.rows+r)*blockBytes + disp}
}

func (d *quantDots) scaleOf(i, r int) operand.Mem {
	return operand.Mem{Base: d.scales, Disp: (i*d.rows + r) * scaleBytes}
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
		d.scaleGroups(block)
	} else {
		d.scaleHalves(block)
	}
	for g := range 8 {
		v := d.group(block, g)
		for r := range d.rows {
			products := d.dot(g, r, v, nil)
			switch {
			case !d.min:
				d.VFMADD231PS(d.halfWeights(g, r), products, d.acc[r][g%2])
			case d.wide:
				d.VFMADD231PS_BCST(d.weight(g, r), products, d.acc[r][g%2])
			default:
				w := d.YMM()
				d.VBROADCASTSS(d.weight(g, r), w)
				d.VFMADD231PS(w, products, d.acc[r][g%2])
			}
		}
	}
}

// weight is the product of the scales of group g of b and of row r of a.
func (d *quantDots) weight(g, r int) operand.Mem { return d.weights.Offset(32*r + 4*g) }

// scaleGroups stores the weights of a block of Q4_K or Q5_K, and subtracts what its minima contribute.
func (d *quantDots) scaleGroups(block operand.Mem) {
	low, high := d.scalesAndMins(block)
	both, bytes := d.XMM(), d.XMM()
	d.VMOVQ(low, bytes)
	d.VPINSRQ(operand.U8(1), high, bytes, bytes)
	d.VPSHUFD(operand.U8(0xD8), bytes, bytes) // scales, scales, minima, minima
	d.VMOVD(block, both)
	d.VCVTPH2PS(both, both)
	scales := d.eight(bytes, both)
	d.VPSRLDQ(operand.U8(8), bytes, bytes)
	d.VMOVSHDUP(both, both)
	mins := d.eight(bytes, both)
	for r := range d.rows {
		w := d.YMM()
		d.VMULPS(d.groupedScales(r, 0), scales, w)
		d.VMOVUPS(w, d.weight(0, r))
		d.VFNMADD231PS(d.groupedScales(r, 32), mins, d.mins[r][0])
	}
}

// groupedScales are the scales of eight blocks of row r of a, and 32 bytes after them their sums.
func (d *quantDots) groupedScales(r, disp int) operand.Mem {
	return operand.Mem{Base: d.scales, Disp: 8*r*scaleBytes + disp}
}

// eight is a factor times eight unsigned bytes.
func (d *quantDots) eight(bytes, factor reg.VecVirtual) reg.VecVirtual {
	x, f := d.YMM(), d.YMM()
	d.VBROADCASTSS(factor, f)
	d.VPMOVZXBD(bytes, x)
	d.VCVTDQ2PS(x, x)
	d.VMULPS(f, x, x)
	return x
}

// scaleHalves stores the weights of a block of Q6_K, for both halves of a group.
func (d *quantDots) scaleHalves(block operand.Mem) {
	factor, lowerHalves := d.YMM(), d.YMM()
	d.VPBROADCASTW(block.Offset(208), factor.AsX())
	d.VCVTPH2PS(factor.AsX(), factor)
	d.move(d.dwords(0, 0, 1, 1, 2, 2, 3, 3), lowerHalves)
	for i := range 2 {
		x := d.YMM()
		d.VPMOVSXBD(block.Offset(192+8*i), x)
		d.VCVTDQ2PS(x, x)
		d.VMULPS(factor, x, x)
		for r := range d.rows {
			w := d.YMM() // scales 0, 0, 1, 1, 2, 2, 3, 3 of a
			d.move(d.groupedScales(r, 16*i), w)
			d.VPERMPS(w, lowerHalves, w)
			d.VMULPS(x, w, w)
			d.VMOVUPS(w, d.weights.Offset(64*r+32*i))
		}
	}
}

// halfWeights are the weights of both halves of group g.
func (d *quantDots) halfWeights(g, r int) reg.VecVirtual {
	w, order := d.YMM(), d.held(d.halvesOf(g))
	if !d.wide {
		d.VMOVDQU(order, w)
		order = w
	}
	d.VPERMPS(d.weights.Offset(64*r+32*(g/4)), order, w)
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
			d.VADDSS(d.sumOfMins(r), x, x)
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

// sumOfMins is the contribution of minima to the sum of row r.
func (d *quantDots) sumOfMins(r int) reg.VecVirtual {
	if d.large {
		y, other := d.mins[r][0], d.XMM()
		d.extract(y, other)
		return foldHalves(d.Context, y.AsX().(reg.VecVirtual), other)
	}
	y, low := d.mins[0][0], d.XMM() // row r's is lane 2r + 1
	if r == 0 {
		d.VADDPS(d.mins[0][1], y, y)
	}
	from := y.AsX().(reg.VecVirtual)
	if r >= 2 {
		d.extract(y, low)
		from = low
	}
	d.VSHUFPS(operand.U8([]uint8{0x55, 0xFF}[r%2]), from, from, low)
	return low
}
