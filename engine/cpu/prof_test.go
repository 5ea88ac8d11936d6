package cpu

import (
	"fmt"
	"testing"
)

func BenchmarkProf(b *testing.B) {
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{341, 49153, 576, false, true}, {49153, 576, 341, true, false}, {341, 576, 49153, false, false},
		{1024, 576, 576, false, true}, {1024, 1536, 576, false, true}, {1024, 576, 1536, false, true}, {1024, 192, 576, false, true},
		{576, 1536, 1024, true, false}, {1536, 576, 1024, true, false}, {576, 576, 1024, true, false}, {192, 576, 1024, true, false},
		{1024, 576, 192, false, false}, {1024, 1536, 576, false, false},
	} {
		g := randomGemm(s.m, s.n, s.k, s.transA, s.transB, 0)
		g.Alpha = 1
		for _, p := range ownMatmuls()[:1] {
			b.Run(fmt.Sprintf("%dx%dx%d/%v/%v", s.m, s.n, s.k, s.transA, s.transB), func(b *testing.B) {
				h := newHost(1, p)
				for b.Loop() {
					h.Gemm(g)
				}
				reportFlops(b, g)
			})
		}
	}
}
