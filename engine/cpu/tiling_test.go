package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestTiling checks that the bits of a matmul do not depend on the number of threads.
func TestTiling(t *testing.T) {
	for _, p := range allMatmuls() {
		t.Run(fmt.Sprintf("%.8s", p.name), func(t *testing.T) { testTiling(t, p) })
	}
}

func testTiling(t *testing.T, p matmul) {
	for i, s := range [][3]int{{145, 384, 700}, {3, 2000, 300}, {8, 500, 96}, {300, 256, 200}, {96, 96, 1248}, {1, 999, 577}} {
		if testing.Short() && i >= 3 {
			break
		}
		for trans := range 4 {
			g := randomGemm(s[0], s[1], s[2], trans&1 != 0, trans&2 != 0, 0)
			g.Alpha = 0.5
			var want []float32
			for _, threads := range []int{1, 2, 7} {
				newHost(threads, p).Gemm(g)
				if want == nil {
					want = slices.Clone(g.C)
				}
				for i := range want {
					if math.Float32bits(g.C[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%v: element %d is %g with %d threads, %g with 1", s, i, g.C[i], threads, want[i])
					}
				}
			}
		}
	}
}
