package shaders

import "patchwork/shaders/simd"

// narrowGrain is the number of multiply-adds worth a goroutine.
const narrowGrain = 1 << 15

// narrowRows is the largest number of rows of a for which b is not converted.
const narrowRows = 8

// matmulNarrowCPU multiplies a few rows by the rows of b in 16 bits, without converting b
// in memory: decoding is bound by memory bandwidth.
func matmulNarrowCPU(h Host, p MatMulParams, b Buffers, s Storage) bool {
	m, n, k := p.M.At(h.Step()), int(p.N), p.K.At(h.Step())
	kernels := simd.NarrowDots(s.Type.Format())
	if p.M.Max > narrowRows || p.TransA != 0 || p.TransB != 1 || p.Batch != 1 || k%16 != 0 || k == 0 || kernels == nil {
		return false
	}
	if m == 0 {
		return true
	}
	a, release := h.Scratch(m * k)
	defer release()
	for i := range m {
		simd.Unpack(s.Type.Format(), a[i*k:][:k], b.U16(0)[i*int(p.LDA):][:k])
	}
	c, ldc := b.F32(4), int(p.LDC)
	narrow := s.Bindings>>4&1 != 0
	if narrow {
		var release func()
		c, release = h.Scratch(m * ldc)
		defer release()
		for i := range m {
			simd.Unpack(s.Type.Format(), c[i*ldc:][:n], b.U16(4)[i*ldc:][:n])
		}
	}
	beta := p.Beta
	if p.Bias != 0 || p.Residual != 0 {
		matmulStart(h, p, m, beta, b.F32(2), b.F32(3), c)
		beta = 1
	}
	weights, ldb := b.U16(1), int(p.LDB)
	h.Parallel(n, max(1, narrowGrain/(m*k)), func(lo, hi int) {
		narrowMatmul(kernels, m, k, a, weights[lo*ldb:], ldb, hi-lo, c[lo:], ldc, p.Alpha, beta)
	})
	if narrow {
		for i := range m {
			simd.Pack(s.Type.Format(), b.U16(4)[i*ldc:][:n], c[i*ldc:][:n])
		}
	}
	return true
}

// narrowMatmul multiplies m rows of a [m,k] by n rows of b, as many at a time as the
// kernels support.
func narrowMatmul(kernels []simd.NarrowDotsKernel, m, k int, a []float32, b []uint16, ldb, n int, c []float32, ldc int, alpha, beta float32) {
	for i := 0; i < m; i += len(kernels) {
		kernel := kernels[min(len(kernels), m-i)-1]
		kernel(k, &a[i*k], k, &b[0], ldb, n, &c[i*ldc], ldc, alpha, beta)
	}
}
