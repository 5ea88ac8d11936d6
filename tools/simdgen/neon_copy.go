package main

import (
	"fmt"

	"patchwork/tools/simdgen/arm64"
)

// defineNeonCopy generates copies and transpositions of float32 matrices, the spin-wait hint and the
// measurement of the processor's peak.
func defineNeonCopy(file *arm64.File) {
	defineNeonCopyRows(file)
	defineNeonCopyPart(file)
	for _, rows := range []int{8, 4} {
		defineNeonTranspose(file, rows)
	}
	f := file.Function("pause", "func()", "pause waits some cycles: for what came before to complete, where a hint to yield does nothing.")
	f.Op("ISB $15")
	f.Return()
	defineNeonPeak(file)
}

// defineNeonCopyRows generates the copy of rows as wide as a panel of b, for which a call of memmove
// would cost more than the copy.
func defineNeonCopyRows(file *arm64.File) {
	name := fmt.Sprintf("copyRows%dNEON", neonCols)
	f := file.Function(name, "func(dst, src *float32, lds, rows int)",
		fmt.Sprintf("%s copies rows of %d values, lds apart, to follow each other.", name, neonCols))
	dst, src, lds, rows := f.Param("dst"), f.Param("src"), bytesOf(f, "lds", 2), f.Param("rows")
	f.Label("loop")
	v := []*arm64.V{f.Vec(), f.Vec(), f.Vec(), f.Vec()}
	f.LoadPair(v[0], v[1], src, 0)
	f.LoadPair(v[2], v[3], src, 32)
	f.StorePairNext(v[0], v[1], dst, 32)
	f.StorePairNext(v[2], v[3], dst, 32)
	f.Op("ADD %s, %s, %s", lds, src, src)
	f.Op("SUBS $1, %s, %s", rows, rows)
	f.Branch("BNE loop")
	f.Return()
}

// defineNeonCopyPart generates the copy of rows of any width up to that of a panel.
func defineNeonCopyPart(file *arm64.File) {
	f := file.Function("copyPartNEON", "func(dst *float32, ldd int, src *float32, lds, rows, n int)",
		fmt.Sprintf("copyPartNEON copies rows of n values, at most %d; strides count elements.", neonCols))
	dst, ldd, src, lds := f.Param("dst"), bytesOf(f, "ldd", 2), f.Param("src"), bytesOf(f, "lds", 2)
	rows, n, from, to := f.Param("rows"), f.Param("n"), f.Reg(), f.Reg()
	f.Label("loop")
	f.Op("MOVD %s, %s", src, from)
	f.Op("MOVD %s, %s", dst, to)
	for _, part := range []struct {
		bit, vectors, bytes int
		width               arm64.Width
	}{{4, 4, 16, arm64.Four}, {3, 2, 16, arm64.Four}, {2, 1, 16, arm64.Four}, {1, 1, 8, arm64.Two}, {0, 1, 4, arm64.One}} {
		f.Branch("TBZ $%d, %s, without_%d", part.bit, n, 1<<part.bit)
		for range part.vectors {
			v := f.Vec()
			f.LoadNext(part.width, v, from, part.bytes)
			f.StoreNext(part.width, v, to, part.bytes)
		}
		f.Label(fmt.Sprintf("without_%d", 1<<part.bit))
	}
	f.Op("ADD %s, %s, %s", lds, src, src)
	f.Op("ADD %s, %s, %s", ldd, dst, dst)
	f.Op("SUBS $1, %s, %s", rows, rows)
	f.Branch("BNE loop")
	f.Return()
}

// defineNeonTranspose generates the transposition of 4 or 8 rows, four columns at a time.
func defineNeonTranspose(file *arm64.File, rows int) {
	name := fmt.Sprintf("transpose%dNEON", rows)
	f := file.Function(name, "func(dst *float32, ldd int, src *float32, lds, blocks int)",
		fmt.Sprintf("%s writes the transpose of %d rows of 4·blocks columns; strides count elements.", name, rows))
	dst, ldd := f.Param("dst"), bytesOf(f, "ldd", 2)
	from, lds := []arm64.R{f.Param("src")}, bytesOf(f, "lds", 2)
	for len(from) < rows {
		next := f.Reg()
		f.Op("ADD %s, %s, %s", lds, from[len(from)-1], next)
		from = append(from, next)
	}
	blocks := f.Param("blocks")
	f.Label("loop")
	var columns [4][]*arm64.V // the parts of each
	for top := 0; top < rows; top += 4 {
		var row [4]*arm64.V
		for i := range row {
			row[i] = f.Vec()
			f.LoadNext(arm64.Four, row[i], from[top+i], 16)
		}
		for i, v := range neonTranspose4(f, row) {
			columns[i] = append(columns[i], v)
		}
	}
	for _, parts := range columns {
		if rows == 8 {
			f.StorePair(parts[0], parts[1], dst, 0)
		} else {
			f.Store(arm64.Four, parts[0], dst, 0)
		}
		f.Op("ADD %s, %s, %s", ldd, dst, dst)
	}
	f.Op("SUBS $1, %s, %s", blocks, blocks)
	f.Branch("BNE loop")
	f.Return()
}

// neonTranspose4 transposes 4×4: pairs of values, then pairs of pairs.
func neonTranspose4(f *arm64.Function, row [4]*arm64.V) (column [4]*arm64.V) {
	even01, odd01, even23, odd23 := f.Vec(), f.Vec(), f.Vec(), f.Vec()
	f.TRN1(even01, row[0], row[1])
	f.TRN2(odd01, row[0], row[1])
	f.TRN1(even23, row[2], row[3])
	f.TRN2(odd23, row[2], row[3])
	for i := range column {
		column[i] = f.Vec()
	}
	f.ZIP1D(column[0], even01, even23)
	f.ZIP1D(column[1], odd01, odd23)
	f.ZIP2D(column[2], even01, even23)
	f.ZIP2D(column[3], odd01, odd23)
	return column
}

// neonChains is the number of independent multiply-adds: enough for four units with a latency of
// four cycles.
const neonChains = 16

// defineNeonPeak generates multiply-adds in registers. FMLA adds to its destination, so that x·a + b
// needs b in a register of its own, which the load units bring: the chains move down by two
// registers in one iteration and up in the next.
func defineNeonPeak(file *arm64.File) {
	f := file.Function("fmaNEON", "func(x *float32, pairs int, a float32, b *float32)",
		fmt.Sprintf("fmaNEON computes 2·pairs times x = x·a + b for %d values; b is repeated 8 times.", 4*neonChains))
	x, pairs, b := f.Param("x"), f.Param("pairs"), f.Param("b")
	a, chain := f.Pinned(), f.Vecs(neonChains+2)
	f.Broadcast(a, "a")
	for i, v := range chain[2:] {
		f.Load(arm64.Four, v, x, 16*i)
	}
	f.Label("loop")
	for i := 0; i < neonChains; i += 2 {
		f.LoadPair(chain[i], chain[i+1], b, 0)
		f.FMLA(chain[i], chain[i+2], a)
		f.FMLA(chain[i+1], chain[i+3], a)
	}
	for i := neonChains; i > 0; i -= 2 {
		f.LoadPair(chain[i], chain[i+1], b, 0)
		f.FMLA(chain[i], chain[i-2], a)
		f.FMLA(chain[i+1], chain[i-1], a)
	}
	f.Op("SUBS $1, %s, %s", pairs, pairs)
	f.Branch("BNE loop")
	for i, v := range chain[2:] {
		f.Store(arm64.Four, v, x, 16*i)
	}
	f.Return()
}
