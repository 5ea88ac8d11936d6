package cpu

import (
	"unsafe"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// HasBF16 reports whether the processor multiplies bf16 values.
func (h *host) HasBF16() bool { return h.matmul.blocked != nil && h.matmul.blocked.BF16 != nil }

// GemmBF16 computes tiles of c in parallel.
func (h *host) GemmBF16(g shaders.GemmBF16) {
	if g.M == 0 || g.N == 0 {
		return
	}
	h.bf16Tiles(g, func(f pairFactors, _ int, tiled bool) {
		if tiled {
			multiply(f.blocked, tileFactors{f})
		} else {
			multiply(f.blocked, f)
		}
	})
}

// bf16Tiles calls f in parallel for parts of c, and the first column of each, until all are computed:
// by AMX if tiled.
func (h *host) bf16Tiles(g shaders.GemmBF16, f func(part pairFactors, column int, tiled bool)) {
	p, t, tiled := h.matmul, h.matmul.blocked, h.matmul.tiled != nil
	if tiled {
		t, p.rows = p.tiled, simd.TileGroup
	}
	tm, tn := p.tile(g.M, g.N, g.K/2, h.threads)
	rows, cols := ceil(g.M, tm), ceil(g.N, tn)
	h.Parallel(rows*cols, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(pairFactors{t, part(g, i/cols*tm, tm, i%cols*tn, tn)}, i%cols*tn, tiled)
		}
	})
}

// pairFactors packs pairs of terms. The last of an odd number of terms has a 0 beside it.
type pairFactors struct {
	*blocked
	shaders.GemmBF16
}

func (f pairFactors) size() (m, n, k int) { return f.M, f.N, f.K }
func (f pairFactors) terms() int          { return 2 * blockK }
func (f pairFactors) lines(depth int) int { return ceil(depth, 2) }

// packsA is true where the terms of a pair do not lie beside each other.
func (f pairFactors) packsA(depth int) bool { return f.TransA || depth%2 != 0 || f.N >= packColumns }

func (f pairFactors) packA(to []float32, i, rows, k, depth int) {
	if f.TransA {
		f.pairRows(to, f.Rows, f.A[k*f.LDA+i:], f.LDA, depth, rows)
		return
	}
	pairColumns(to, f.Rows, f.A[i*f.LDA+k:], f.LDA, depth, rows)
}

func (f pairFactors) packB(to []float32, k, depth, j, n int) {
	if f.TransB {
		pairColumns(to, f.Cols, f.B[j*f.LDB+k:], f.LDB, depth, n)
		return
	}
	f.pairRows(to, f.Cols, f.B[k*f.LDB+j:], f.LDB, depth, n)
}

func (f pairFactors) multiply(packedA, b []float32, i, rows, k, depth, j, n int, first bool) {
	var a *uint16
	rs, ks := 2, 2*f.Rows
	if packedA != nil {
		a = (*uint16)(unsafe.Pointer(&packedA[0]))
	} else {
		a, rs, ks = &f.A[i*f.LDA+k], f.LDA, 2
	}
	beta := float32(1)
	if first {
		beta = f.Beta
	}
	f.BF16[rows-1](ceil(depth, 2), a, rs, ks, &words(b)[0], &f.C[i*f.LDC+j], f.LDC, n, f.Alpha, beta)
}

// pairRows packs pairs of rows of src [depth,n].
func (f pairFactors) pairRows(dst []float32, ldd int, src []uint16, lds, depth, n int) {
	to := words(dst)
	if depth > 1 {
		f.PairRows(&to[0], ldd, &src[0], lds, depth/2, n)
	}
	if depth%2 != 0 {
		last := to[depth/2*ldd:]
		for j, v := range src[(depth-1)*lds:][:n] {
			last[j] = uint32(v)
		}
	}
}

// pairColumns packs pairs of columns of src [n,depth].
func pairColumns(dst []float32, ldd int, src []uint16, lds, depth, n int) {
	pairs, to := depth/2, words(dst)
	if lds%2 == 0 && uintptr(unsafe.Pointer(&src[0]))%4 == 0 {
		simd.Transpose(dst, ldd, unsafe.Slice((*float32)(unsafe.Pointer(&src[0])), len(src)/2), lds/2, n, pairs)
	} else {
		for j := range n {
			row := src[j*lds:]
			for l := range pairs {
				to[l*ldd+j] = uint32(row[2*l]) | uint32(row[2*l+1])<<16
			}
		}
	}
	if depth%2 != 0 {
		for j := range n {
			to[pairs*ldd+j] = uint32(src[j*lds+depth-1])
		}
	}
}

func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// bf16s are two bf16 values for every element.
func bf16s(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}
