package cpu

import (
	"fmt"
	"math"
	"testing"

	"patchwork/shaders"
)

// TestGemm compares the tiled matmul of both kernels with a float64 one, over all
// transposes and with leading dimensions larger than the rows.
func TestGemm(t *testing.T) {
	for _, p := range allMatmuls() {
		for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {65, 33, 129}, {200, 300, 64}, {1, 700, 40}, {3, 600, 1000}, {7, 9, 0}, {40, 50, 600},
			{1, 33, 64}, {2, 31, 129}, {3, 5, 1000}, {4, 130, 75}, {5, 64, 48}, {8, 200, 576}} {
			for trans := range 4 {
				t.Run(fmt.Sprintf("%.8s/%v/%d", p.name, s, trans), func(t *testing.T) {
					testGemm(t, p, s, trans&1 != 0, trans&2 != 0)
				})
			}
		}
	}
}

func testGemm(t *testing.T, p matmul, s [3]int, transA, transB bool) {
	m, n, k := s[0], s[1], s[2]
	g := randomGemm(m, n, k, transA, transB, 3)
	g.Alpha, g.Beta = 0.5, 2
	want := make([]float64, len(g.C))
	for i := range m {
		for j := range n {
			want[i*g.LDC+j] = 0.5*exactSum(g, i, j) + 2*float64(g.C[i*g.LDC+j])
		}
	}
	newHost(2, p).Gemm(g)
	// A sum of k products of unit normals has a rounding error of about sqrt(k) units of
	// 2^-24; 16 times that covers any order.
	tolerance := 16 * math.Sqrt(float64(k)+4) * 0x1p-24
	for i := range m {
		for j := range n {
			if got := float64(g.C[i*g.LDC+j]); math.Abs(got-want[i*g.LDC+j]) > tolerance*(1+math.Abs(want[i*g.LDC+j])) {
				t.Fatalf("c[%d,%d] = %g, want %g", i, j, got, want[i*g.LDC+j])
			}
		}
	}
}

// exactSum is element [i,j] of op(a)·op(b) in float64.
func exactSum(g shaders.Gemm, i, j int) (sum float64) {
	for l := range g.K {
		a, b := i*g.LDA+l, l*g.LDB+j
		if g.TransA {
			a = l*g.LDA + i
		}
		if g.TransB {
			b = j*g.LDB + l
		}
		sum += float64(g.A[a]) * float64(g.B[b])
	}
	return sum
}

func allMatmuls() []matmul {
	matmuls := append(ownMatmuls(), goMatmul)
	if p, ok := blasMatmul(); ok {
		matmuls = append(matmuls, p)
	}
	return matmuls
}
