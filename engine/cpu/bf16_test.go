package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/shaders"
	"patchwork/shaders/half"
)

// TestGemmBF16 compares bf16 matmuls with float64 ones, over all transposes, odd numbers of terms
// and leading dimensions larger than the rows; the bits do not depend on the number of threads.
func TestGemmBF16(t *testing.T) {
	if !newHost(1, bestMatmul()).HasBF16() {
		t.Skip("the processor has no AVX512-BF16")
	}
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {65, 33, 129}, {200, 300, 64}, {13, 700, 40}, {12, 32, 1026}, {40, 50, 1601}, {37, 600, 90}, {400, 33, 544}, {800, 40, 70}} {
		for trans := range 4 {
			for pad := range 3 {
				if testing.Short() && pad > 0 {
					continue
				}
				for _, scale := range [][2]float32{{0.5, 2}, {1, 0}, {1, 1}} { // tiles compute the latter
					t.Run(fmt.Sprintf("%v/%d/%d/%v", s, trans, pad, scale), func(t *testing.T) {
						testGemmBF16(t, s, trans&1 != 0, trans&2 != 0, pad, scale[0], scale[1])
					})
				}
			}
		}
	}
}

func testGemmBF16(t *testing.T, s [3]int, transA, transB bool, pad int, alpha, beta float32) {
	f := randomGemm(s[0], s[1], s[2], transA, transB, pad)
	f.Alpha, f.Beta = alpha, beta
	round := func(x []float32) []uint16 {
		bits := make([]uint16, len(x))
		half.BF16.Pack(bits, x)
		half.BF16.Unpack(x, bits)
		return bits
	}
	g := shaders.GemmBF16{
		TransA: transA, TransB: transB, M: f.M, N: f.N, K: f.K, Alpha: f.Alpha, Beta: f.Beta,
		A: round(f.A), LDA: f.LDA, B: round(f.B), LDB: f.LDB, C: slices.Clone(f.C), LDC: f.LDC,
	}
	alone := g
	alone.C = slices.Clone(f.C)
	newHost(2, bestMatmul()).GemmBF16(g)
	newHost(1, bestMatmul()).GemmBF16(alone)
	if !slices.Equal(g.C, alone.C) {
		t.Error("the bits depend on the number of threads")
	}
	tolerance := 16 * math.Sqrt(float64(f.K)+4) * 0x1p-24 // as in TestGemm
	for i := range f.M {
		for j := range f.LDC {
			want := float64(f.C[i*f.LDC+j])
			if j < f.N {
				want = float64(alpha)*exactSum(f, i, j) + float64(beta)*want
			}
			if got := float64(g.C[i*f.LDC+j]); math.Abs(got-want) > tolerance*(1+math.Abs(want)) {
				t.Fatalf("c[%d,%d] = %g, want %g", i, j, got, want)
			}
		}
	}
}

// BenchmarkGemmBF16 measures products of a training step of SmolLM2-135M with 512 tokens: forward,
// the gradient of the input, and of the weights.
func BenchmarkGemmBF16(b *testing.B) {
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{512, 576, 576, false, true}, {512, 3072, 576, false, true}, {512, 576, 1536, false, true}, {512, 49152, 576, false, true},
		{512, 576, 3072, false, false}, {3072, 576, 512, true, false}, {49152, 576, 512, true, false}, {512, 2048, 2048, false, true},
	} {
		f := randomGemm(s.m, s.n, s.k, s.transA, s.transB, 0)
		g := shaders.GemmBF16{TransA: s.transA, TransB: s.transB, M: f.M, N: f.N, K: f.K, Alpha: 1, LDA: f.LDA, LDB: f.LDB, C: f.C, LDC: f.LDC}
		g.A, g.B = make([]uint16, len(f.A)), make([]uint16, len(f.B))
		half.BF16.Pack(g.A, f.A)
		half.BF16.Pack(g.B, f.B)
		own := bestMatmul()
		for _, tiles := range []bool{true, false} {
			p := own
			if !tiles {
				p.tiled = nil
			} else if p.tiled == nil {
				continue
			}
			h := newHost(2, p)
			b.Run(fmt.Sprintf("%dx%dx%d/%v/%v/tiles=%v", s.m, s.n, s.k, s.transA, s.transB, tiles), func(b *testing.B) {
				for b.Loop() {
					h.GemmBF16(g)
				}
				reportFlops(b, f)
			})
		}
	}
}
