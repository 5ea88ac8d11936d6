package cpu

import (
	"unsafe"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// blockPairs is the number of pairs of terms of one pass over c: a panel of b is as large as one of
// blockK float32 rows.
const blockPairs = blockK

// bf16Work is the number of multiply-adds worth a call.
const bf16Work = 2 * blockedWork

// GemmBF16 computes tiles of c in parallel.
func (h *host) GemmBF16(g shaders.GemmBF16) bool {
	t := h.matmul.bf16
	if t == nil {
		return false
	}
	if g.M == 0 || g.N == 0 {
		return true
	}
	p := h.matmul
	p.minWork = bf16Work
	tm, tn := p.tile(g.M, g.N, g.K, h.threads)
	rows, cols := ceil(g.M, tm), ceil(g.N, tn)
	h.Parallel(rows*cols, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			t.gemmBF16(partBF16(g, i/cols*tm, tm, i%cols*tn, tn))
		}
	})
	return true
}

// partBF16 is the matmul restricted to rows [i,i+tm) and columns [j,j+tn) of c.
func partBF16(g shaders.GemmBF16, i, tm, j, tn int) shaders.GemmBF16 {
	g.M, g.N = min(tm, g.M-i), min(tn, g.N-j)
	if g.TransA {
		g.A = g.A[i:]
	} else {
		g.A = g.A[i*g.LDA:]
	}
	if g.TransB {
		g.B = g.B[j*g.LDB:]
	} else {
		g.B = g.B[j:]
	}
	g.C = g.C[i*g.LDC+j:]
	return g
}

// pairsA is a block of a for a BF16Kernel: pair l of row i of the panel of rows p is at
// p·panel + i·rs + l·ks.
type pairsA struct {
	data          []uint16
	panel, rs, ks int
}

// gemmBF16 is gemm over pairs of terms. The last of an odd number of terms has a 0 beside it.
func (t *blocked) gemmBF16(g shaders.GemmBF16) {
	panelB := blockPairs * t.Cols
	packed := (g.M + t.Rows - 1) / t.Rows * t.Rows * min((g.K+1)/2, blockPairs)
	buffer := t.scratch(panelB + packed)
	defer t.buffers.Put(buffer)
	pairs := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(*buffer))), panelB+packed)
	b, packedA := pairs[:panelB], pairs[panelB:]
	for k := 0; k < g.K; k += 2 * blockPairs {
		depth := min(2*blockPairs, g.K-k)
		a := pairsA{g.A[k:], t.Rows * g.LDA, g.LDA, 2}
		if g.TransA || depth%2 != 0 {
			a = t.packPairsA(packedA, g, k, depth)
		}
		beta := g.Beta
		if k > 0 {
			beta = 1
		}
		for j := 0; j < g.N; j += t.Cols {
			n := min(t.Cols, g.N-j)
			t.packPairsB(b, g, k, depth, j, n)
			for i := 0; i < g.M; i += t.Rows {
				kernel := t.BF16[min(t.Rows, g.M-i)-1]
				kernel((depth+1)/2, &a.data[i/t.Rows*a.panel], a.rs, a.ks, &b[0], &g.C[i*g.LDC+j], g.LDC, n, g.Alpha, beta)
			}
		}
	}
}

// packPairsA packs columns [k,k+depth) of op(a), pair by pair in each panel of rows.
func (t *blocked) packPairsA(to []uint32, g shaders.GemmBF16, k, depth int) pairsA {
	pairs := (depth + 1) / 2
	for i := 0; i < g.M; i += t.Rows {
		rows, panel := min(t.Rows, g.M-i), to[i*pairs:]
		if g.TransA {
			t.pairRows(panel, t.Rows, g.A[k*g.LDA+i:], g.LDA, depth, rows)
		} else {
			pairColumns(panel, t.Rows, g.A[i*g.LDA+k:], g.LDA, depth, rows)
		}
	}
	data := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(to))), 2*len(to))
	return pairsA{data, 2 * t.Rows * pairs, 2, 2 * t.Rows}
}

// packPairsB packs rows [k,k+depth) and columns [j,j+n) of op(b).
func (t *blocked) packPairsB(to []uint32, g shaders.GemmBF16, k, depth, j, n int) {
	if g.TransB {
		pairColumns(to, t.Cols, g.B[j*g.LDB+k:], g.LDB, depth, n)
		return
	}
	t.pairRows(to, t.Cols, g.B[k*g.LDB+j:], g.LDB, depth, n)
}

// pairRows packs pairs of rows of src [depth,n].
func (t *blocked) pairRows(to []uint32, ldt int, src []uint16, lds, depth, n int) {
	if depth > 1 {
		t.PairRows(&to[0], ldt, &src[0], lds, depth/2, n)
	}
	if depth%2 != 0 {
		last := to[depth/2*ldt:]
		for j, v := range src[(depth-1)*lds:][:n] {
			last[j] = uint32(v)
		}
	}
}

// pairColumns packs pairs of columns of src [n,depth].
func pairColumns(to []uint32, ldt int, src []uint16, lds, depth, n int) {
	pairs := depth / 2
	if lds%2 == 0 && uintptr(unsafe.Pointer(&src[0]))%4 == 0 {
		words := unsafe.Slice((*float32)(unsafe.Pointer(&src[0])), len(src)/2)
		simd.Transpose(unsafe.Slice((*float32)(unsafe.Pointer(&to[0])), len(to)), ldt, words, lds/2, n, pairs)
	} else {
		for j := range n {
			row := src[j*lds:]
			for l := range pairs {
				to[l*ldt+j] = uint32(row[2*l]) | uint32(row[2*l+1])<<16
			}
		}
	}
	if depth%2 != 0 {
		for j := range n {
			to[pairs*ldt+j] = uint32(src[j*lds+depth-1])
		}
	}
}
