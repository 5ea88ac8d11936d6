package shaders

import "patchwork/shaders/simd"

// narrowGrain is the number of multiply-adds worth a goroutine.
const narrowGrain = 1 << 15

// narrowRows is the largest number of rows of a for which b is not converted.
const narrowRows = 8

// matmulNarrowCPU multiplies matrices in 16 bits without converting them in memory: few rows by the
// rows of b, as in decoding, which is bound by memory bandwidth, and bf16 matrices where the
// processor multiplies them itself.
func matmulNarrowCPU(h Host, p MatMulParams, b Buffers, s Storage) bool {
	m, n, k := p.M.At(h.Step()), int(p.N), p.K.At(h.Step())
	kernels := simd.NarrowDots(s.Type.Format())
	few := p.M.Max <= narrowRows && p.TransA == 0 && p.TransB == 1 && p.Batch == 1 && k%16 == 0 && kernels != nil
	if k == 0 || !few && (s.Type != BF16 || !h.HasBF16()) {
		return false
	}
	if m == 0 {
		return true
	}
	var a []float32
	if few {
		var release func()
		a, release = h.Scratch(m * k)
		defer release()
		for i := range m {
			simd.Unpack(s.Type.Format(), a[i*k:][:k], b.U16(0)[i*int(p.LDA):][:k])
		}
	}
	for i := range int(p.Batch) {
		matmulIntoNarrow(h, p, b, s, i, m, n, func(c []float32, beta float32) {
			ldb, ldc := int(p.LDB), int(p.LDC)
			if few {
				h.Parallel(n, max(1, narrowGrain/(m*k)), func(lo, hi int) {
					narrowMatmul(kernels, m, k, a, b.U16(1)[lo*ldb:], ldb, hi-lo, c[lo:], ldc, p.Alpha, beta)
				})
				return
			}
			h.GemmBF16(GemmBF16{
				TransA: p.TransA != 0, TransB: p.TransB != 0, M: m, N: n, K: k, Alpha: p.Alpha, Beta: beta,
				A: b.U16(0)[i*int(p.StrideA):], LDA: int(p.LDA), B: b.U16(1)[i*int(p.StrideB):], LDB: ldb, C: c, LDC: ldc,
			})
		})
	}
	return true
}

// matmulIntoNarrow computes matrix i of a batch by multiply, which adds to beta·c; c may be in 16 bits.
func matmulIntoNarrow(h Host, p MatMulParams, b Buffers, s Storage, i, m, n int, multiply func(c []float32, beta float32)) {
	ldc, beta := int(p.LDC), p.Beta
	var c []float32
	narrow := s.Bindings>>4&1 != 0
	if narrow {
		var release func()
		c, release = h.Scratch(m * ldc)
		defer release()
	} else {
		c = b.F32(4)[i*int(p.StrideC):]
	}
	if narrow && beta != 0 {
		halves := b.U16(4)[i*int(p.StrideC):]
		h.Parallel(m, rowGrain(n), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				simd.Unpack(s.Type.Format(), c[r*ldc:][:n], halves[r*ldc:][:n])
			}
		})
	}
	if p.Bias != 0 || p.Residual != 0 {
		residual := b.F32(3)
		matmulStart(h, p, m, beta, b.F32(2), residual[min(i*int(p.StrideC), len(residual)):], c)
		beta = 1
	}
	multiply(c, beta)
	if narrow {
		halves := b.U16(4)[i*int(p.StrideC):]
		h.Parallel(m, rowGrain(n), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				simd.Pack(s.Type.Format(), halves[r*ldc:][:n], c[r*ldc:][:n])
			}
		})
	}
}

// narrowMatmul multiplies m rows of a [m,k] by n rows of b, as many at a time as the
// kernels support.
func narrowMatmul(kernels []simd.NarrowDotsKernel, m, k int, a []float32, b []uint16, ldb, n int, c []float32, ldc int, alpha, beta float32) {
	for i := 0; i < m; i += len(kernels) {
		kernel := kernels[min(len(kernels), m-i)-1]
		kernel(k, &a[i*k], k, &b[0], ldb, n, &c[i*ldc], ldc, alpha, beta)
	}
}
