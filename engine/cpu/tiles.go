package cpu

import (
	"patchwork/shaders/simd"
)

// newTiled multiplies bf16 matrices by tiles, packed as for the kernels of t; nil where the processor
// has none.
func newTiled(t simd.Tile) *blocked {
	if !simd.HasTiles() || t.BF16 == nil || t.Cols != simd.TileGroup {
		return nil
	}
	t.Rows = blockRows
	return newBlocked(t)
}

// tileFactors are those of a product by tiles. Panels are padded with zeros to whole steps.
type tileFactors struct{ pairFactors }

// tileTerms is the number of terms of a panel of 64 KiB, of which the second-level cache is fast enough.
const tileTerms = 1024

// terms divides the terms evenly: every part reads and writes all of c.
func (f tileFactors) terms() int {
	return roundUp(ceil(f.K, ceil(f.K, tileTerms)), simd.TileStep)
}

func (f tileFactors) lines(depth int) int {
	return roundUp(ceil(depth, 2), simd.TilePair)
}

// packsA is true where tiles cannot be read from op(a) as it is.
func (f tileFactors) packsA(depth int) bool { return f.TransA || depth%simd.TileStep != 0 }

// packA packs tiles: groups of rows, and the steps of each.
func (f tileFactors) packA(to []float32, i, rows, k, depth int) {
	tile := simd.TileRows * simd.TilePair
	for ; rows > 0; rows -= simd.TileRows {
		n := min(simd.TileRows, rows)
		for l := 0; l < depth; l += simd.TileStep {
			f.packTile(to[:tile], i, n, k+l, min(simd.TileStep, depth-l))
			to = to[tile:]
		}
		i += n
	}
}

// packTile packs rows [i,i+rows) and columns [k,k+depth) of op(a).
func (f tileFactors) packTile(to []float32, i, rows, k, depth int) {
	if depth < simd.TileStep {
		clear(to)
	}
	if !f.TransA {
		for r := range rows {
			copy(bf16s(to[r*simd.TilePair:]), f.A[(i+r)*f.LDA+k:][:depth])
		}
		return
	}
	var pairs [simd.TilePair * simd.TileRows]float32
	f.pairRows(pairs[:], simd.TileRows, f.A[k*f.LDA+i:], f.LDA, depth, rows)
	simd.Transpose(to, simd.TilePair, pairs[:], simd.TileRows, ceil(depth, 2), rows)
}

func (f tileFactors) packB(to []float32, k, depth, j, n int) {
	f.pairFactors.packB(to, k, depth, j, n)
	f.pad(to, depth)
}

// pad sets the lines of a panel of b to 0 that follow depth terms.
func (f tileFactors) pad(to []float32, depth int) {
	clear(to[ceil(depth, 2)*f.Cols : f.lines(depth)*f.Cols])
}

func (f tileFactors) multiply(packedA, b []float32, i, rows, k, depth, j, n int, first bool) {
	p := simd.TileProduct{
		Rows: rows, Cols: n, Steps: f.lines(depth) / simd.TilePair, B: &words(b)[0], C: &f.C[i*f.LDC+j], LDC: f.LDC, Add: !first || f.Beta != 0,
	}
	var a []uint16
	if packedA != nil {
		tile := simd.TileRows * simd.TileStep
		a, p.RowStride, p.StepStride, p.GroupStride = bf16s(packedA), simd.TileStep, tile, p.Steps*tile
	} else {
		a, p.RowStride, p.StepStride, p.GroupStride = f.A[i*f.LDA+k:], f.LDA, simd.TileStep, simd.TileRows*f.LDA
	}
	if f.Alpha != 1 || first && f.Beta != 0 && f.Beta != 1 {
		f.scaled(p, a, i, j, first)
		return
	}
	p.A = &a[0]
	p.Run()
}

// scaled computes p beside c, since tiles do not scale.
func (f tileFactors) scaled(p simd.TileProduct, a []uint16, i, j int, first bool) {
	var sums [simd.TileGroup * simd.TileGroup]float32
	rows := p.Rows
	for top := 0; top < rows; top += simd.TileGroup {
		p.Rows, p.A, p.C, p.LDC, p.Add = min(simd.TileGroup, rows-top), &a[2*top/simd.TileGroup*p.GroupStride], &sums[0], simd.TileGroup, false
		p.Run()
		for r := range p.Rows {
			x, c := sums[r*simd.TileGroup:][:p.Cols], f.C[(i+top+r)*f.LDC+j:][:p.Cols]
			simd.Scale(x, x, f.Alpha)
			switch {
			case !first || f.Beta == 1:
				simd.Add(c, c, x)
			case f.Beta == 0:
				copy(c, x)
			default:
				simd.Scale(c, c, f.Beta)
				simd.Add(c, c, x)
			}
		}
	}
}
