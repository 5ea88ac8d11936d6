package cpu

import (
	"sync"

	"patchwork/shaders"
	quantsimd "patchwork/shaders/quant/simd"
	"patchwork/shaders/simd"
)

// quantGemm computes tiles of c in parallel, for which it decodes b as it packs panels.
func (h *host) quantGemm(g shaders.GemmQuant) {
	t, decode := h.matmul.blocked, h.matmul.quant.Formats[g.Format].Decode
	tm, tn := h.matmul.tile(g.M, g.N, g.K, h.threads)
	rows, cols := ceil(g.M, tm), ceil(g.N, tn)
	h.Parallel(rows*cols, 1, func(lo, hi int) {
		for tile := lo; tile < hi; tile++ {
			i, j := tile/cols*tm, tile%cols*tn
			// A transposed matrix is never read without a copy.
			whole := shaders.Gemm{TransB: true, M: g.M, N: g.N, K: g.K, Alpha: 1, A: g.A, LDA: g.LDA, Beta: g.Beta, C: g.C, LDC: g.LDC}
			whole.M, whole.N, whole.A, whole.C = min(tm, g.M-i), min(tn, g.N-j), g.A[i*g.LDA:], g.C[i*g.LDC+j:]
			temp := decodedPool.Get().(*decoded)
			multiply(t, quantFactors{floatFactors{t, whole}, quantPanels{g, decode, j, temp[:]}})
			decodedPool.Put(temp)
		}
	})
}

// decoded is a part of b in float32.
type decoded [blockK * quantsimd.Values]float32

var decodedPool = sync.Pool{New: func() any { return new(decoded) }}

// quantFactors are those of columns of c from first on.
type quantFactors struct {
	floatFactors
	quantPanels
}

func (f quantFactors) packB(to []float32, k, depth, j, n int) {
	j += f.first
	if !f.b.TransB {
		f.packRows(to, k, depth, j, n)
		return
	}
	for l := 0; l < depth; l += quantsimd.Values {
		f.decodeRows(f.temp, quantsimd.Values, j, n, k+l, f.b.K)
		simd.Transpose(to[l*f.Cols:], f.Cols, f.temp, quantsimd.Values, n, quantsimd.Values)
	}
}

// packRows packs rows [k,k+depth) of b as it is stored. n columns are all 32 that are decoded, or a part.
func (f quantFactors) packRows(to []float32, k, depth, j, n int) {
	if n == quantsimd.Values && f.Cols == n {
		f.decodeRows(to, n, k, depth, j, f.b.N)
		return
	}
	f.decodeRows(f.temp, quantsimd.Values, k, depth, j, f.b.N)
	f.copyRows(to, f.Cols, f.temp[j%quantsimd.Values:], quantsimd.Values, depth, n)
}

// quantPanels decodes b.
type quantPanels struct {
	b      shaders.GemmQuant
	decode quantsimd.Decoder
	first  int       // column of c
	temp   []float32 // a decoded part
}

// decodeRows decodes the 32 values at column j of rows [i,i+rows) of b as it is stored, in rows of k values.
func (f quantPanels) decodeRows(to []float32, ldt, i, rows, j, k int) {
	elements, size := f.b.Format.Block()
	row := f.b.Format.Bytes(k)
	f.decode(&to[0], ldt, &f.b.B[i*row+j/elements*size], row, rows, j%elements/quantsimd.Values)
}

// packPairColumns packs pairs of columns of rows [j,j+n) of b as it is stored, rounded to bf16.
func (f quantPanels) packPairColumns(to []float32, ldt, k, depth, j, n int) {
	const half = quantsimd.Values / 2
	for l := 0; l < depth; l += quantsimd.Values {
		f.decodeRows(f.temp, quantsimd.Values, f.first+j, n, k+l, f.b.K)
		simd.Transpose(to[l/2*ldt:], ldt, f.rounded(n), half, n, half)
	}
}

// packPairRows packs pairs of rows [k,k+depth) of b as it is stored, rounded to bf16. depth is at most
// quantRows.
func (f quantPanels) packPairRows(to []float32, p pairFactors, k, depth, j, n int) {
	j += f.first
	f.decodeRows(f.temp, quantsimd.Values, k, depth, j, f.b.N)
	p.pairRows(to, p.Cols, bf16s(f.rounded(depth))[j%quantsimd.Values:], quantsimd.Values, depth, n)
}

// rounded are the first rows of the decoded part in bf16.
func (f quantPanels) rounded(rows int) []float32 {
	n := rows * quantsimd.Values
	to := f.temp[n:][:n/2]
	simd.Pack(shaders.BF16.Format(), bf16s(to), f.temp[:n])
	return to
}
