package cpu

import (
	"sync"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// blockK is the number of terms of one pass over c: that many rows of a panel of b stay
// in the first-level cache (256 × 32 values are 32 KiB).
const blockK = 256

// packColumns is the number of columns of c from which packing a pays off.
const packColumns = 512

// blocked multiplies by a microkernel (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008): for every block of k and every panel of
// columns of b, packed, a few rows of c at a time. Every element of c is the same sum in
// the same order, whatever the tiling of c.
type blocked struct {
	simd.Tile
	buffers sync.Pool // of *[]float32
}

func newBlocked(t simd.Tile) *blocked { return &blocked{Tile: t} }

// blockA is a block of a for the microkernel: element [i,l] of the panel of rows p is at
// p·panel + i·rs + l·ks.
type blockA struct {
	data          []float32
	panel, rs, ks int
}

func (t *blocked) gemm(g shaders.Gemm) {
	panelB := blockK * t.Cols
	packed := 0
	if g.N >= packColumns {
		packed = (g.M + t.Rows - 1) / t.Rows * t.Rows * min(g.K, blockK)
	}
	buffer := t.scratch(panelB + packed)
	defer t.buffers.Put(buffer)
	b, packedA := (*buffer)[:panelB], (*buffer)[panelB:]
	for k := 0; k < g.K; k += blockK {
		depth := min(blockK, g.K-k)
		a := t.directA(g, k)
		if packed > 0 {
			a = t.packA(packedA, g, k, depth)
		}
		beta := g.Beta
		if k > 0 {
			beta = 1
		}
		for j := 0; j < g.N; j += t.Cols {
			n := min(t.Cols, g.N-j)
			panel, ldb := &b[0], t.Cols
			if !g.TransB && n == t.Cols && g.M <= t.Rows { // a packed copy would be used once
				panel, ldb = &g.B[k*g.LDB+j], g.LDB
			} else {
				t.packB(b, g, k, depth, j, n)
			}
			for i := 0; i < g.M; i += t.Rows {
				kernel := t.Kernels[min(t.Rows, g.M-i)-1]
				kernel(depth, &a.data[i/t.Rows*a.panel], a.rs, a.ks, panel, ldb, &g.C[i*g.LDC+j], g.LDC, n, g.Alpha, beta)
			}
		}
	}
}

func (t *blocked) scratch(n int) *[]float32 {
	if b, _ := t.buffers.Get().(*[]float32); b != nil && len(*b) >= n {
		return b
	}
	b := make([]float32, n)
	return &b
}

// directA is the block of op(a) from column k on, without a copy.
func (t *blocked) directA(g shaders.Gemm, k int) blockA {
	if g.TransA {
		return blockA{g.A[k*g.LDA:], t.Rows, 1, g.LDA}
	}
	return blockA{g.A[k:], t.Rows * g.LDA, g.LDA, 1}
}

// packA copies columns [k,k+depth) of op(a), column by column in each panel of
// rows.
func (t *blocked) packA(to []float32, g shaders.Gemm, k, depth int) blockA {
	for i := 0; i < g.M; i += t.Rows {
		rows, panel := min(t.Rows, g.M-i), to[i*depth:]
		if !g.TransA {
			simd.Transpose(panel, t.Rows, g.A[i*g.LDA+k:], g.LDA, rows, depth)
			continue
		}
		for l := range depth {
			copy(panel[l*t.Rows:][:rows], g.A[(k+l)*g.LDA+i:])
		}
	}
	return blockA{to, t.Rows * depth, 1, t.Rows}
}

// packB copies rows [k,k+depth) and columns [j,j+n) of op(b).
func (t *blocked) packB(to []float32, g shaders.Gemm, k, depth, j, n int) {
	if g.TransB {
		simd.Transpose(to, t.Cols, g.B[j*g.LDB+k:], g.LDB, n, depth)
		return
	}
	if n == t.Cols {
		t.CopyRows(&to[0], &g.B[k*g.LDB+j], g.LDB, depth)
		return
	}
	for l := range depth {
		copy(to[l*t.Cols:][:n], g.B[(k+l)*g.LDB+j:])
	}
}
