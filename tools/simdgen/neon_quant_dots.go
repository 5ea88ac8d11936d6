package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

// neonQuantRows is the maximum number of rows of a.
const neonQuantRows = 4

func defineNeonQuantDots(f *arm64.File, set string) {
	for _, b := range blockFormats {
		for rows := 1; rows <= neonQuantRows; rows++ {
			name := fmt.Sprintf("dots%s%s_%d", b.name, set, rows)
			d := neonQuantDots{rows: rows, dotProduct: set == "DotProd"}
			d.blockFormat = b
			d.Function = f.Function(name,
				"func(blocks int, a *int8, scales *float32, b *byte, n int, c *float32, ldc int, beta float32)",
				fmt.Sprintf("%s takes %d rows of a; see Dots.", name, rows))
			d.define()
		}
	}
}

// neonQuantDots generates the dot products of a few rows of 8-bit values with all rows of b. A vector
// has four sums of four products, the same with and without FEAT_DotProd; blocks alternate between
// two accumulators, which hides the latency of additions.
type neonQuantDots struct {
	neonUnpacker
	rows       int
	dotProduct bool

	a, scales, b arm64.R // where they are read
	acc          [][2]*arm64.V
	mins         []*arm64.V // lane 1 is the sum of one row, lane 3 of the next
}

func (d *neonQuantDots) define() {
	startA, startScales, blocks := d.Param("a"), d.Param("scales"), d.Param("blocks")
	d.b = d.Param("b")
	c, n, ldc := d.Param("c"), d.Param("n"), bytesOf(d.Function, "ldc", 2)
	beta, bits := d.Pinned(), d.Bits("beta")
	d.Broadcast(beta, "beta")
	d.Op("LSLW $1, %s, %s", bits, bits) // -0 is 0 too
	d.hold()
	for range d.rows {
		d.acc = append(d.acc, [2]*arm64.V{d.Pinned(), d.Pinned()})
	}
	if d.min {
		d.mins = d.Vecs((d.rows + 1) / 2)
	}
	d.a, d.scales = d.Reg(), d.Reg()
	left := d.Reg()
	d.Label("row")
	for _, acc := range d.acc {
		d.Zero(acc[0])
		d.Zero(acc[1])
	}
	for _, v := range d.mins {
		d.Zero(v)
	}
	d.Op("MOVD %s, %s", startA, d.a)
	d.Op("MOVD %s, %s", startScales, d.scales)
	if d.large {
		d.Op("MOVD %s, %s", blocks, left)
		d.Label("blocks")
		d.largeBlock()
		d.Op("SUBS $8, %s, %s", left, left)
		d.Branch("BNE blocks")
	} else {
		d.smallBlocks(blocks, left)
	}
	d.write(c, ldc, beta, bits)
	d.Op("ADD $4, %s, %s", c, c)
	d.Op("SUBS $1, %s, %s", n, n)
	d.Branch("BNE row")
	d.Return()
}

// smallBlocks runs over blocks of 32 values, two at a time.
func (d *neonQuantDots) smallBlocks(blocks, left arm64.R) {
	d.Op("SUBS $2, %s, %s", blocks, left)
	d.Branch("BLT last")
	d.Label("blocks")
	d.smallBlock(0)
	d.smallBlock(1)
	d.Op("ADD $%d, %s, %s", 2*d.size, d.b, d.b)
	d.Op("SUBS $2, %s, %s", left, left)
	d.Branch("BGE blocks")
	d.Label("last")
	d.Branch("TBZ $0, %s, sum", left)
	d.smallBlock(0)
	d.Op("ADD $%d, %s, %s", d.size, d.b, d.b)
	d.Label("sum")
}

// smallBlock adds the products with block i of 32 values from here on.
func (d *neonQuantDots) smallBlock(i int) {
	both := d.Vec() // scale, and minimum
	if d.min {
		d.Load(arm64.One, both, d.b, i*d.size)
	} else {
		d.LoadHalf(both, d.b, i*d.size)
	}
	d.FCVTL(both, both)
	v := d.small(d.b, i*d.size)
	pairs := d.pairs()
	var weights []*arm64.V
	for j, p := range pairs {
		w := d.Vec()
		d.FMULLane(w, p, both, 0)
		weights = append(weights, w)
		if d.min {
			d.FMLALane(d.mins[j], p, both, 1)
		}
	}
	for r := range d.rows {
		a := d.valuesOfA()
		sums := d.dot(nil, v[0], a[0])
		sums = d.dot(sums, v[1], a[1])
		d.SCVTF(sums, sums)
		d.FMLALane(d.acc[r][i], sums, weights[r/2], r%2*2)
	}
}

// pairs loads scale and sum of the rows of a's next block, of two rows in a vector.
func (d *neonQuantDots) pairs() (pairs []*arm64.V) {
	for r := 0; r < d.rows; r += 2 {
		v := d.Vec()
		if r+1 < d.rows {
			d.LoadNext(arm64.Four, v, d.scales, 16)
		} else {
			d.LoadNext(arm64.Two, v, d.scales, 8)
		}
		pairs = append(pairs, v)
	}
	return pairs
}

// valuesOfA loads the 32 values of the next row of a's block.
func (d *neonQuantDots) valuesOfA() [2]*arm64.V {
	a := [2]*arm64.V{d.Vec(), d.Vec()}
	d.LoadPairNext(a[0], a[1], d.a, blockBytes)
	return a
}

// dot adds the products of sixteen bytes to sums, or starts at 0 where sums is nil.
func (d *neonQuantDots) dot(sums, x, y *arm64.V) *arm64.V {
	first := sums == nil
	if first {
		sums = d.Vec()
	}
	if d.dotProduct {
		if first {
			d.Zero(sums)
		}
		d.SDOT(sums, x, y)
		return sums
	}
	low, high := d.Vec(), d.Vec()
	d.SMULL(low, x, y)
	d.SMULL2(high, x, y)
	d.ADDPH(low, low, high) // at most 2·127·128: they fit
	if first {
		d.SADDLP(sums, low)
	} else {
		d.SADALP(sums, low)
	}
	return sums
}

// largeBlock adds the products with a block of 256 values.
func (d *neonQuantDots) largeBlock() {
	scales := d.groupScales()
	var q neonQuants
	for g := range 8 {
		v := d.group(d.b, g, &q)
		if g == 7 {
			d.Op("ADD $%d, %s, %s", d.size, d.b, d.b)
		}
		pairs := d.pairs()
		if !d.min {
			d.halves(g, v, pairs, scales)
			continue
		}
		var weights []*arm64.V
		for j, p := range pairs {
			w := d.Vec()
			d.FMULLane(w, p, scales[g/4], g%4)
			weights = append(weights, w)
			d.FMLSLane(d.mins[j], p, scales[2+g/4], g%4)
		}
		for r := range d.rows {
			a := d.valuesOfA()
			sums := d.dot(nil, v[0], a[0])
			sums = d.dot(sums, v[1], a[1])
			d.SCVTF(sums, sums)
			d.FMLALane(d.acc[r][g%2], sums, weights[r/2], r%2*2)
		}
	}
}

// halves adds the products of a group whose halves have scales of their own.
func (d *neonQuantDots) halves(g int, v [2]*arm64.V, pairs []*arm64.V, scales [4]*arm64.V) {
	var weights [2][]*arm64.V
	for i := range weights {
		for _, p := range pairs {
			w := d.Vec()
			d.FMULLane(w, p, scales[(2*g+i)/4], (2*g+i)%4)
			weights[i] = append(weights[i], w)
		}
	}
	for r := range d.rows {
		a := d.valuesOfA()
		for i := range a {
			sums := d.dot(nil, v[i], a[i])
			d.SCVTF(sums, sums)
			d.FMLALane(d.acc[r][i], sums, weights[i][r/2], r%2*2)
		}
	}
}

// groupScales are the scales of a block of 256: eight and then eight minima, or sixteen.
func (d *neonQuantDots) groupScales() [4]*arm64.V {
	if d.min {
		bytes, both := d.scalesAndMins(d.b)
		x := d.floats(bytes)
		for i := range x {
			d.FMULLane(x[i], x[i], both, i/2)
		}
		return x
	}
	bytes, factor := d.Vec(), d.Vec()
	d.LoadHalf(factor, d.b, 208)
	d.FCVTL(factor, factor)
	d.Load(arm64.Four, bytes, d.b, 192)
	x := d.floats(bytes)
	for i := range x {
		d.FMULLane(x[i], x[i], factor, 0)
	}
	return x
}

// write adds up the accumulators of each row, and beta times c.
func (d *neonQuantDots) write(c, ldc arm64.R, beta *arm64.V, bits arm64.R) {
	at := d.a
	d.Op("MOVD %s, %s", c, at)
	for r, acc := range d.acc {
		d.FADD(acc[0], acc[0], acc[1])
		d.FADDP(acc[0], acc[0], acc[0])
		d.FADDPair(acc[0], acc[0])
		if d.min {
			low := d.Vec()
			d.Lane(low, d.mins[r/2], 1+r%2*2)
			d.FADDS(acc[0], acc[0], low)
		}
		label := fmt.Sprintf("store%d", r)
		d.Branch("CBZW %s, %s", bits, label)
		old := d.Vec()
		d.Load(arm64.One, old, at, 0)
		d.FMADDS(acc[0], acc[0], old, beta)
		d.Label(label)
		d.Store(arm64.One, acc[0], at, 0)
		if r+1 < d.rows {
			d.Op("ADD %s, %s, %s", ldc, at, at)
		}
	}
}
