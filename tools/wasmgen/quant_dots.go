package main

import (
	"fmt"

	"patchwork/tools/wasmgen/wasm"
)

// A Block of a in memory: 32 values of 8 bits, then eight integers of 32 bits, the Starts.
const (
	blockBytes = 64
	startsAt   = 32
)

func defineQuantDots(m *wasm.Module) {
	for _, b := range blockFormats {
		name := "dots" + b.name
		d := quantDots{blockFormat: b, Function: m.Function(name,
			"func(blocks int32, a *int8, scales *float32, b *byte, n int32, c *float32, ldc int32, beta float32)",
			fmt.Sprintf("%s takes 1 row of a; see Dots.", name))}
		d.define()
	}
}

// quantDots generates the dot products of a row of 8-bit values with all rows of b. Of small blocks they are
// computed for four rows at a time, in the lanes of a vector; the last row again where there are fewer.
type quantDots struct {
	*wasm.Function
	blockFormat

	a, scales wasm.I32
	rows      []wasm.I32 // of b
}

func (d *quantDots) define() {
	n, c, b, blocks := d.Param("n"), d.Param("c"), d.Param("b"), d.Param("blocks")
	out := output{d.Function, d.FloatParam("beta"), d.Vec(d.FloatParam("beta").Splat())}
	d.a, d.scales = d.Int(wasm.Int(0)), d.Int(wasm.Int(0))
	together, sum := 4, d.smallBlocks
	if d.large {
		together, sum = 1, d.largeBlocks
		d.Set(blocks, blocks.ShrU(3))
	}
	row := d.Int(blocks.Mul(wasm.Int(d.size)))
	d.Loop(func() wasm.I32 {
		d.Set(d.a, d.Param("a"))
		d.Set(d.scales, d.Param("scales"))
		d.rows = []wasm.I32{d.Int(b)}
		for i := 1; i < together; i++ {
			d.rows = append(d.rows, d.Int(wasm.Select(d.rows[i-1].Add(row), d.rows[i-1], n.GtS(wasm.Int(i)))))
		}
		sums := sum(blocks)
		d.IfElse(n.GeS(wasm.Int(together)), func() { out.store(4*together, c, 0, sums) }, func() { out.part(d.Int(c), n, sums) })
		d.Set(b, b.Add(row.Mul(wasm.Int(together))))
		d.Set(c, c.Add(wasm.Int(4*together)))
		d.Set(n, n.Sub(wasm.Int(together)))
		return n.GtS(wasm.Int(0))
	})
}

// next moves to the next block of b and as many of a.
func (d *quantDots) next(blocksOfA int) {
	for _, p := range d.rows {
		d.Set(p, p.Add(wasm.Int(d.size)))
	}
	d.Set(d.a, d.a.Add(wasm.Int(blockBytes*blocksOfA)))
	d.Set(d.scales, d.scales.Add(wasm.Int(8*blocksOfA)))
}

// smallBlocks returns the sums of four rows over blocks of 32 values.
func (d *quantDots) smallBlocks(blocks wasm.I32) wasm.V128 {
	acc, left := d.Vec(wasm.Zero()), d.Int(blocks)
	d.Loop(func() wasm.I32 {
		a := d.valuesOfA(0)
		var sums []wasm.V128
		for _, p := range d.rows {
			sums = append(sums, d.dot(d.unpack(d.Function, p, 0), a, 0))
		}
		halves := d.Vec(d.rows[0].Load32Zero(0)) // scales, and minima in the upper halves
		for i, p := range d.rows[1:] {
			d.Set(halves, halves.Load32Lane(p, 0, i+1))
		}
		weights := widenF16(d.Function, halves.I32x4Shl(16)).F32x4Mul(d.scales.LoadSplat(0))
		d.MulAdd(acc, sumsOfLanes(d.Function, sums).F32x4ConvertI32x4S(), weights)
		if d.min {
			d.MulAdd(acc, widenF16(d.Function, halves), d.scales.LoadSplat(4))
		}
		d.next(1)
		d.Set(left, left.Sub(wasm.Int(1)))
		return left
	})
	return acc
}

// quarters are 16 values of a as they are multiplied: the words of those with even and with odd numbers, or
// all bytes.
type quarters []wasm.V128

// bytes is true where bytes are multiplied as they are, for which those of b must not be signed.
func (d *quantDots) bytes() bool { return d.Relaxed && !d.signed() }

// valuesOfA loads the 32 values of block i from here on.
func (d *quantDots) valuesOfA(i int) (a [2]quarters) {
	for half := range a {
		v := d.Vec(d.a.Load(blockBytes*i + 16*half))
		if a[half] = (quarters{v}); !d.bytes() {
			a[half] = d.words(v, true)
		}
	}
	return a
}

// words widens the even and the odd bytes.
func (d *quantDots) words(v wasm.V128, signed bool) quarters {
	if signed {
		return quarters{d.Vec(v.I16x8Shl(8).I16x8ShrS(8)), d.Vec(v.I16x8ShrS(8))}
	}
	return quarters{d.Vec(v.And(d.Const(wasm.Words(0x00ff00ff)))), d.Vec(v.I16x8ShrU(8))}
}

// dot is the products of 32 bytes of b with block i of a, in four sums.
func (d *quantDots) dot(b [2]wasm.V128, a [2]quarters, i int) wasm.V128 {
	var sums wasm.V128
	if d.bytes() { // four products of at most 127 · 63 fit in a word
		sums = a[0][0].I16x8RelaxedDot(b[0]).I16x8Add(a[1][0].I16x8RelaxedDot(b[1])).I32x4ExtaddPairwiseI16x8S()
	} else {
		sums = d.dotHalf(b[0], a[0]).I32x4Add(d.dotHalf(b[1], a[1]))
	}
	return d.lessOffset(sums, i, 0, 1)
}

// dotHalf is the products of 16 bytes of b with as many of a.
func (d *quantDots) dotHalf(b wasm.V128, a quarters) wasm.V128 {
	if d.bytes() {
		return a[0].I16x8RelaxedDot(b).I32x4ExtaddPairwiseI16x8S()
	}
	w := d.words(b, d.signed())
	return w[0].I32x4DotI16x8S(a[0]).I32x4Add(w[1].I32x4DotI16x8S(a[1]))
}

// lessOffset adds the Starts of halves of block i of a.
func (d *quantDots) lessOffset(sums wasm.V128, i int, halves ...int) wasm.V128 {
	if d.offset != 0 {
		for _, half := range halves {
			sums = sums.I32x4Add(d.a.Load(blockBytes*i + startsAt + 16*half))
		}
	}
	return d.Vec(sums)
}

// largeBlocks returns the sum of one row over blocks of 256 values, in the first lane.
func (d *quantDots) largeBlocks(blocks wasm.I32) wasm.V128 {
	acc, left := d.Vec(wasm.Zero()), d.Int(blocks)
	d.Loop(func() wasm.I32 {
		scales := d.groupScales(d.Function, d.rows[0])
		for i := range d.groups() {
			d.addGroups(acc, scales, i)
		}
		d.next(8)
		d.Set(left, left.Sub(wasm.Int(1)))
		return left
	})
	d.Set(acc, acc.F32x4Add(acc.Words(acc, [4]byte{2, 3, 2, 3})))
	return d.Vec(acc.F32x4Add(acc.Words(acc, [4]byte{1, 1, 1, 1})))
}

// groups is how many times four scales a large block has, without the minima.
func (d *quantDots) groups() int {
	if d.halves() {
		return 4
	}
	return 2
}

// addGroups adds the products of the groups that scales [4i,4i+4) belong to. The Scales of a are grouped:
// eight scales, then eight sums.
func (d *quantDots) addGroups(acc wasm.V128, scales func(i int) wasm.V128, i int) {
	groups := 8 / d.groups()
	first := i * groups
	ofA := d.scales.Load(4 * first)
	if d.halves() {
		pair := d.Vec(d.scales.Load64Zero(4 * first))
		ofA = pair.Words(pair, [4]byte{0, 0, 1, 1})
	}
	weights := d.Vec(scales(i).F32x4Mul(ofA))
	if d.min {
		d.Set(acc, acc.F32x4Sub(scales(2+i).F32x4Mul(d.scales.Load(32+4*first))))
	}
	for group := first; group < first+groups; group++ {
		a, v := d.valuesOfA(group), d.unpack(d.Function, d.rows[0], group)
		if d.halves() {
			for half := range 2 {
				d.addWeighted(acc, d.lessOffset(d.dotHalf(v[half], a[half]), group, half), weights, 2*(group-first)+half)
			}
		} else {
			d.addWeighted(acc, d.dot(v, a, group), weights, group-first)
		}
	}
}

// addWeighted adds four sums times a lane of the weights.
func (d *quantDots) addWeighted(acc, sums, weights wasm.V128, lane int) {
	n := byte(lane)
	d.MulAdd(acc, sums.F32x4ConvertI32x4S(), weights.Words(weights, [4]byte{n, n, n, n}))
}
