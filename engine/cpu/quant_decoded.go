package cpu

import "patchwork/shaders"

// quantRows is the number of rows of b that are decoded at once.
const quantRows = 64

// quantColumns is the number of columns of b, stored as [k,n], that are decoded at once: a
// multiple of every block.
const quantColumns = 256

// decodedGemm decodes a part of b at a time, for every row of a.
func (h *host) decodedGemm(g shaders.GemmQuant) {
	if g.TransB {
		h.quantForward(g)
	} else {
		h.quantBackward(g)
	}
}

// quantForward computes c = a·bᵀ + beta·c, for rows of b at a time.
func (h *host) quantForward(g shaders.GemmQuant) {
	row := g.Format.Bytes(g.K)
	h.Parallel(ceil(g.N, quantRows), 1, func(lo, hi int) {
		b, release := h.Scratch(quantRows * g.K)
		defer release()
		for i := lo * quantRows; i < min(g.N, hi*quantRows); i += quantRows {
			n := min(quantRows, g.N-i)
			g.Format.Decode(b[:n*g.K], g.B[i*row:])
			h.GemmSerial(shaders.Gemm{
				TransB: true, M: g.M, N: n, K: g.K, Alpha: 1, A: g.A, LDA: g.LDA, B: b, LDB: g.K, Beta: g.Beta, C: g.C[i:], LDC: g.LDC,
			})
		}
	})
}

// quantBackward computes c = a·b + beta·c, for columns of b at a time.
func (h *host) quantBackward(g shaders.GemmQuant) {
	row := g.Format.Bytes(g.N)
	h.Parallel(ceil(g.N, quantColumns), 1, func(lo, hi int) {
		b, release := h.Scratch(quantRows * quantColumns)
		defer release()
		for j := lo * quantColumns; j < min(g.N, hi*quantColumns); j += quantColumns {
			n, beta := min(quantColumns, g.N-j), g.Beta
			for l := 0; l < g.K; l += quantRows {
				k := min(quantRows, g.K-l)
				for i := range k {
					g.Format.Decode(b[i*n:][:n], g.B[(l+i)*row+g.Format.Bytes(j):])
				}
				h.GemmSerial(shaders.Gemm{M: g.M, N: n, K: k, Alpha: 1, A: g.A[l:], LDA: g.LDA, B: b, LDB: n, Beta: beta, C: g.C[j:], LDC: g.LDC})
				beta = 1
			}
		}
	})
}
