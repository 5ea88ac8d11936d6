package cpu

import (
	"sync"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

const (
	// blockK is the number of lines of a panel of b, each one term of float32 or a pair of bf16, so
	// that a panel stays in the first-level cache: 256 × 32 values are 32 KiB.
	blockK = 256
	// blockRows is the number of rows of a block of a, which stays in the second-level cache: 384 KiB.
	blockRows = 384
	// blockColumns is the number of columns of b that are kept packed for further blocks of a: 1 MiB.
	blockColumns = 1024
	// packColumns is the number of columns of c from which packing a pays off.
	packColumns = 512
)

// blocked multiplies by a microkernel (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008): for every block of k, a panel of columns of b,
// packed, by a few rows of a at a time. Every element of c is the same sum in the same order,
// whatever the tiling of c.
type blocked struct {
	simd.Tile
	buffers sync.Pool // of *[]float32
}

func newBlocked(t simd.Tile) *blocked { return &blocked{Tile: t} }

// factors are the matrices of a matmul whose elements are packed in 32 bits: one term, or a pair.
type factors interface {
	// size of c [m,n], and the number of terms.
	size() (m, n, k int)
	// terms is the number of terms that are multiplied before the next: a panel's.
	terms() int
	// lines is the number of lines of a panel of depth terms.
	lines(depth int) int
	// packsA reports whether depth terms of op(a) must be packed, or should be.
	packsA(depth int) bool
	// packA packs rows [i,i+rows), of one panel, and columns [k,k+depth) of op(a).
	packA(to []float32, i, rows, k, depth int)
	// packB packs rows [k,k+depth) and columns [j,j+n) of op(b).
	packB(to []float32, k, depth, j, n int)
	// multiply computes rows [i,i+rows) and columns [j,j+n) of c over some terms. packedA is the
	// panel of these rows, nil if it was not packed.
	multiply(packedA []float32, b []float32, i, rows, k, depth, j, n int, first bool)
}

// multiply multiplies block by block. Where c has more than one block of rows, the panels of b are
// packed for the first and kept for the others.
func multiply[F factors](t *blocked, f F) {
	m, n, k := f.size()
	columns, panels := n, 1
	if m > blockRows {
		columns = min(n, blockColumns)
		panels = ceil(columns, t.Cols)
	}
	terms := f.terms()
	panel := f.lines(terms) * t.Cols
	buffer := t.scratch(panels*panel + roundUp(min(m, blockRows), t.Rows)*f.lines(terms))
	defer t.buffers.Put(buffer)
	b, a := (*buffer)[:panels*panel], (*buffer)[panels*panel:]
	for left := 0; left < n; left += columns {
		for at := 0; at < k; at += terms {
			depth := min(terms, k-at)
			lines := f.lines(depth)
			packs := f.packsA(depth)
			for top := 0; top < m; top += blockRows {
				bottom := min(m, top+blockRows)
				for i := top; packs && i < bottom; i += t.Rows {
					f.packA(a[(i-top)*lines:], i, min(t.Rows, bottom-i), at, depth)
				}
				for j := left; j < min(n, left+columns); j += t.Cols {
					width := min(t.Cols, n-j)
					line := b[(j-left)/t.Cols%panels*panel:][:panel]
					if top == 0 {
						f.packB(line, at, depth, j, width)
					}
					for i := top; i < bottom; i += t.Rows {
						var packed []float32
						if packs {
							packed = a[(i-top)*lines:]
						}
						f.multiply(packed, line, i, min(t.Rows, bottom-i), at, depth, j, width, at == 0)
					}
				}
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

// gemm computes a float32 matmul on the calling goroutine.
func (t *blocked) gemm(g shaders.Gemm) { multiply(t, floatFactors{t, g}) }

type floatFactors struct {
	*blocked
	shaders.Gemm
}

func (f floatFactors) size() (m, n, k int) { return f.M, f.N, f.K }
func (f floatFactors) terms() int          { return blockK }
func (f floatFactors) lines(depth int) int { return depth }
func (f floatFactors) packsA(int) bool     { return f.N >= packColumns }

func (f floatFactors) packA(to []float32, i, rows, k, depth int) {
	if f.TransA {
		f.copyRows(to, f.Rows, f.A[k*f.LDA+i:], f.LDA, depth, rows)
		return
	}
	simd.Transpose(to, f.Rows, f.A[i*f.LDA+k:], f.LDA, rows, depth)
}

// readsB reports whether op(b) is read without a copy, which would be used once.
func (f floatFactors) readsB(n int) bool { return !f.TransB && n == f.Cols && f.M <= f.Rows }

func (f floatFactors) packB(to []float32, k, depth, j, n int) {
	switch {
	case f.readsB(n):
	case f.TransB:
		simd.Transpose(to, f.Cols, f.B[j*f.LDB+k:], f.LDB, n, depth)
	case n == f.Cols:
		f.CopyRows(&to[0], &f.B[k*f.LDB+j], f.LDB, depth)
	default:
		f.copyRows(to, f.Cols, f.B[k*f.LDB+j:], f.LDB, depth, n)
	}
}

func (f floatFactors) multiply(packedA, b []float32, i, rows, k, depth, j, n int, first bool) {
	var a *float32
	rs, ks := 1, f.Rows
	switch {
	case packedA != nil:
		a = &packedA[0]
	case f.TransA:
		a, ks = &f.A[k*f.LDA+i], f.LDA
	default:
		a, rs, ks = &f.A[i*f.LDA+k], f.LDA, 1
	}
	panel, ldb := &b[0], f.Cols
	if f.readsB(n) {
		panel, ldb = &f.B[k*f.LDB+j], f.LDB
	}
	beta := float32(1)
	if first {
		beta = f.Beta
	}
	f.Kernels[rows-1](depth, a, rs, ks, panel, ldb, &f.C[i*f.LDC+j], f.LDC, n, f.Alpha, beta)
}

// copyRows copies rows of n values, at most a panel's columns.
func (t *blocked) copyRows(to []float32, ldt int, from []float32, ldf, rows, n int) {
	if t.CopyPart != nil {
		t.CopyPart(&to[0], ldt, &from[0], ldf, rows, n)
		return
	}
	for l := range rows {
		copy(to[l*ldt:][:n], from[l*ldf:])
	}
}
