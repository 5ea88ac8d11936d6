package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/shaders/half"
	"patchwork/shaders/quant"
)

// TestGemmQuantBF16 compares matmuls of a in bf16 by every format with float64 ones of the decoded
// matrix, rounded to bf16.
func TestGemmQuantBF16(t *testing.T) {
	p := bestMatmul()
	if !newHost(1, p).HasBF16() {
		t.Skip("the processor has no AVX512-BF16")
	}
	pairs := p
	pairs.tiled = nil
	for name, p := range map[string]matmul{"tiles": p, "pairs": pairs} {
		for _, f := range quant.Formats {
			for _, s := range []struct {
				m, n, k int
				transB  bool
			}{{40, 45, 512, true}, {33, 70, 1280, true}, {40, 512, 70, false}, {35, 256, 133, false}} {
				t.Run(fmt.Sprintf("%s/%v/%v", name, f, s), func(t *testing.T) {
					g := padded(randomQuant(f, s.m, s.n, s.k, s.transB))
					g.ABF16 = make([]uint16, len(g.A))
					roundBF16(g.A, g.ABF16)
					start := slices.Clone(g.C)
					newHost(2, p).GemmQuant(g)
					b := make([]float32, g.N*g.K)
					g.Format.Decode(b, g.B)
					roundBF16(b, make([]uint16, len(b)))
					g.FullPrecision = true
					for i := range g.M {
						for j := range g.N {
							want, tolerance := exactQuant(g, b, i, j, true)
							want += float64(start[i*g.LDC+j])
							if got := float64(g.C[i*g.LDC+j]); math.Abs(got-want) > tolerance+1e-6*math.Abs(want) {
								t.Fatalf("c[%d,%d] = %g, want %g within %g", i, j, got, want, tolerance)
							}
						}
					}
				})
			}
		}
	}
}

// roundBF16 rounds x, whose bits become those of bf16.
func roundBF16(x []float32, bits []uint16) {
	half.BF16.Pack(bits, x)
	half.BF16.Unpack(x, bits)
}
