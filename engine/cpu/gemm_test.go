package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"patchwork/shaders"
)

// TestGemm compares the tiled product of both kernels with a float64 one, over
// all transposes and leading dimensions larger than the rows.
func TestGemm(t *testing.T) {
	blas, name := loadBLAS()
	for kernel, gemm := range map[string]func(shaders.Gemm){name: blas, "Go": goGemm} {
		for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {65, 33, 129}, {200, 300, 64}, {1, 700, 40}, {7, 9, 0}} {
			for trans := range 4 {
				t.Run(fmt.Sprintf("%s/%v/%d", kernel, s, trans), func(t *testing.T) {
					testGemm(t, gemm, s, trans&1 != 0, trans&2 != 0)
				})
			}
		}
	}
}

func testGemm(t *testing.T, gemm func(shaders.Gemm), s [3]int, transA, transB bool) {
	m, n, k := s[0], s[1], s[2]
	random := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	const pad = 3
	g := shaders.Gemm{TransA: transA, TransB: transB, M: m, N: n, K: k, Alpha: 0.5, Beta: 2}
	rowsA, rowsB := m, k
	g.LDA, g.LDB, g.LDC = k+pad, n+pad, n+pad
	if transA {
		rowsA, g.LDA = k, m+pad
	}
	if transB {
		rowsB, g.LDB = n, k+pad
	}
	g.A, g.B, g.C = fill(rowsA*g.LDA), fill(rowsB*g.LDB), fill(m*g.LDC)
	want := make([]float64, len(g.C))
	for i := range m {
		for j := range n {
			sum := 0.0
			for l := range k {
				a, b := i*g.LDA+l, l*g.LDB+j
				if transA {
					a = l*g.LDA + i
				}
				if transB {
					b = j*g.LDB + l
				}
				sum += float64(g.A[a]) * float64(g.B[b])
			}
			want[i*g.LDC+j] = 0.5*sum + 2*float64(g.C[i*g.LDC+j])
		}
	}
	newHost(2, gemm).Gemm(g)
	// A sum of k products of unit normals has a rounding error of about
	// sqrt(k) units of 2^-24; 16 of those leave room for any order.
	tolerance := 16 * math.Sqrt(float64(k)+4) * 0x1p-24
	for i := range m {
		for j := range n {
			if got := float64(g.C[i*g.LDC+j]); math.Abs(got-want[i*g.LDC+j]) > tolerance*(1+math.Abs(want[i*g.LDC+j])) {
				t.Fatalf("c[%d,%d] = %g, want %g", i, j, got, want[i*g.LDC+j])
			}
		}
	}
}

func BenchmarkGemm1024(b *testing.B) {
	blas, _ := loadBLAS()
	h := newHost(2, blas)
	const n = 1024
	g := shaders.Gemm{M: n, N: n, K: n, Alpha: 1, LDA: n, LDB: n, LDC: n, A: make([]float32, n*n), B: make([]float32, n*n), C: make([]float32, n*n)}
	for b.Loop() {
		h.Gemm(g)
	}
	b.ReportMetric(2*n*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
