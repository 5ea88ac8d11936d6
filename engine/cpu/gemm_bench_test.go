package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"patchwork/shaders"
)

// BenchmarkGemmKernels measures one call on one goroutine for matmuls of the shapes
// preset, by every kernel that this processor supports.
func BenchmarkGemmKernels(b *testing.B) {
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{1248, 256, 96, false, true}, {1248, 96, 256, false, false}, {256, 96, 1248, true, false}, {96, 96, 1248, true, false},
		{64, 130, 32, false, true}, {64, 32, 130, false, false}, {130, 32, 64, true, false}, {1024, 1024, 1024, false, false}, {1024, 1024, 1024, false, true},
	} {
		g := randomGemm(s.m, s.n, s.k, s.transA, s.transB, 0)
		g.Alpha = 1
		for _, p := range allMatmuls() {
			b.Run(fmt.Sprintf("%dx%dx%d/%v/%v/%.8s", s.m, s.n, s.k, s.transA, s.transB, p.name), func(b *testing.B) {
				for b.Loop() {
					p.gemm(g)
				}
				reportFlops(b, g)
			})
		}
	}
}

func reportFlops(b *testing.B, g shaders.Gemm) {
	b.ReportMetric(2*float64(g.M)*float64(g.N)*float64(g.K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// randomGemm is a matmul of random matrices whose leading dimensions are pad larger than
// needed.
func randomGemm(m, n, k int, transA, transB bool, pad int) shaders.Gemm {
	random := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	g := shaders.Gemm{TransA: transA, TransB: transB, M: m, N: n, K: k, LDA: k + pad, LDB: n + pad, LDC: n + pad}
	rowsA, rowsB := m, k
	if transA {
		rowsA, g.LDA = k, m+pad
	}
	if transB {
		rowsB, g.LDB = n, k+pad
	}
	g.A, g.B, g.C = fill(rowsA*g.LDA), fill(rowsB*g.LDB), fill(m*g.LDC)
	return g
}
