package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// TestGemmQuant compares matmuls by every format and kernel with float64 ones of the decoded matrix,
// with leading dimensions larger than the rows; their bits do not depend on the number of threads.
func TestGemmQuant(t *testing.T) {
	for _, p := range allMatmuls() {
		for _, f := range quant.Formats {
			for _, s := range []struct {
				m, n, k int
				transB  bool
			}{{1, 300, 512, true}, {7, 65, 256, true}, {19, 33, 768, true}, {40, 45, 512, true}, {3, 256, 40, false}, {40, 512, 70, false}} {
				t.Run(fmt.Sprintf("%.8s/%v/%v", p.name, f, s), func(t *testing.T) {
					testGemmQuant(t, p, padded(randomQuant(f, s.m, s.n, s.k, s.transB)))
				})
			}
		}
	}
}

// padded is a matmul with gaps between the rows of a and c, which is added to.
func padded(g shaders.GemmQuant) shaders.GemmQuant {
	wide := randomGemm(g.M, g.N, g.K, false, false, 3)
	g.A, g.LDA, g.C, g.LDC, g.Beta = wide.A, wide.LDA, wide.C, wide.LDC, 1
	return g
}

func testGemmQuant(t *testing.T, p matmul, g shaders.GemmQuant) {
	start := slices.Clone(g.C)
	var first []float32
	for _, threads := range []int{1, 2, 7} {
		g.C = slices.Clone(start)
		newHost(threads, p).GemmQuant(g)
		if first == nil {
			first = g.C
		}
		for i, c := range g.C {
			if math.Float32bits(c) != math.Float32bits(first[i]) {
				t.Fatalf("element %d is %g with %d threads, %g with 1", i, c, threads, first[i])
			}
		}
	}
	b := make([]float32, g.N*g.K)
	g.Format.Decode(b, g.B)
	for i := range g.M {
		for j := range g.LDC {
			if j >= g.N {
				if i+1 < g.M && g.C[i*g.LDC+j] != start[i*g.LDC+j] {
					t.Fatalf("c[%d,%d] was changed", i, j)
				}
				continue
			}
			want, tolerance := exactQuant(g, b, i, j, p.blocked != nil && p.blocked.BF16 != nil)
			want += float64(start[i*g.LDC+j])
			if got := float64(g.C[i*g.LDC+j]); math.Abs(got-want) > tolerance+1e-6*math.Abs(want) {
				t.Fatalf("c[%d,%d] = %g, want %g within %g", i, j, got, want, tolerance)
			}
		}
	}
}

// exactQuant is element [i,j] of a·op(b), and a bound of its error: of sums in float32, and, where a may
// be rounded to 8 bits, of half a step for each value; where both may be rounded to bf16, of half a
// unit in the last place of each.
func exactQuant(g shaders.GemmQuant, b []float32, i, j int, bf16 bool) (sum, tolerance float64) {
	a, magnitudes := g.A[i*g.LDA:][:g.K], 0.0
	largest := make([]float64, ceil(g.K, 32)) // of 32 values of a
	for l, x := range a {
		largest[l/32] = max(largest[l/32], math.Abs(float64(x)))
	}
	for l, x := range a {
		at := l*g.N + j
		if g.TransB {
			at = j*g.K + l
		}
		product, size := float64(x)*float64(b[at]), math.Abs(float64(b[at]))
		sum, magnitudes = sum+product, magnitudes+math.Abs(product)
		switch {
		case !g.TransB || g.FullPrecision:
		case g.M <= 32:
			tolerance += largest[l/32] / 254 * size
		case bf16:
			tolerance += 0x1p-8 * math.Abs(product)
		}
	}
	return sum, tolerance + 3e-6*magnitudes
}

// TestGemmQuantNonFinite puts an infinity or a NaN into one row of a, or into a scale of b: the elements
// that depend on it are not finite, and all others are.
func TestGemmQuantNonFinite(t *testing.T) {
	for _, p := range allMatmuls() {
		for _, f := range quant.Formats {
			for _, m := range []int{3, 40} {
				for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
					g := randomQuant(f, m, 6, 512, true)
					g.A[g.LDA+77] = float32(x)
					checkNonFinite(t, fmt.Sprintf("%.8s %v, %d rows, %g in a", p.name, f, m, x), p, g, func(i, _ int) bool { return i == 1 })
				}
				for _, bits := range []uint16{0x7c00, 0xfc00, 0x7e00} { // +Inf, -Inf, NaN
					g := randomQuant(f, m, 6, 512, true)
					setScale(g.B[2*f.Bytes(512):], f, bits)
					checkNonFinite(t, fmt.Sprintf("%.8s %v, %d rows, scale %#x in b", p.name, f, m, bits), p, g, func(_, j int) bool { return j == 2 })
				}
			}
		}
	}
}

// setScale replaces the F16 scale of a block.
func setScale(block []byte, f quant.Format, bits uint16) {
	at := 0
	if f == quant.Q6_K {
		at = 208
	}
	block[at], block[at+1] = byte(bits), byte(bits>>8)
}

func checkNonFinite(t *testing.T, name string, p matmul, g shaders.GemmQuant, depends func(i, j int) bool) {
	t.Helper()
	newHost(2, p).GemmQuant(g)
	for i := range g.M {
		for j := range g.N {
			if c := g.C[i*g.LDC+j]; (c-c != 0) != depends(i, j) {
				t.Fatalf("%s: c[%d,%d] = %g", name, i, j, c)
			}
		}
	}
}
