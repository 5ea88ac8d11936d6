package cpu

import (
	"fmt"
	"testing"
	"time"

	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// randomQuant is a matmul of random matrices.
func randomQuant(f quant.Format, m, n, k int, transB bool) shaders.GemmQuant {
	elements, _ := f.Block()
	a := randomGemm(m, n, k, false, false, 0)
	return shaders.GemmQuant{TransB: transB, M: m, N: n, K: k, A: a.A, LDA: k, Format: f, B: quant.Random(f, n*k/elements, 1), C: a.C, LDC: n}
}

// BenchmarkGemmQuant measures matmuls of SmolLM2-135M's shapes on one core: in float32, and by every
// block format whose blocks fit the rows.
func BenchmarkGemmQuant(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{
		{1, 49152, 576}, {1, 576, 576}, {1, 1536, 576}, {1, 576, 1536}, {4, 576, 1536}, {12, 1536, 576}, {24, 1536, 576}, {290, 1536, 576}, {290, 576, 1536},
	} {
		for _, transB := range []bool{true, false} {
			if !transB && s.m == 1 {
				continue
			}
			name := fmt.Sprintf("%dx%dx%d/transB=%v", s.m, s.n, s.k, transB)
			h := newHost(1, bestMatmul())
			g := randomGemm(s.m, s.n, s.k, false, transB, 0)
			g.Alpha = 1
			b.Run(name+"/f32", func(b *testing.B) {
				benchmarkQuant(b, func() { h.Gemm(g) }, s.m, s.n, s.k, 4*s.n*s.k)
			})
			for _, f := range quant.Formats {
				row := s.n
				if transB {
					row = s.k
				}
				if elements, _ := f.Block(); row%elements != 0 {
					continue
				}
				g := randomQuant(f, s.m, s.n, s.k, transB)
				b.Run(fmt.Sprintf("%s/%v", name, f), func(b *testing.B) {
					benchmarkQuant(b, func() { h.GemmQuant(g) }, s.m, s.n, s.k, len(g.B))
				})
			}
		}
	}
}

// benchmarkQuant reports the fastest of the calls, which other work on the machine disturbs least.
func benchmarkQuant(b *testing.B, call func(), m, n, k, bytes int) {
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		call()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best.Nanoseconds())/1e3, "best-µs")
	b.ReportMetric(2*float64(m)*float64(n)*float64(k)/best.Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(float64(bytes)/best.Seconds()/1e9, "GB/s")
}

// BenchmarkQuantToken measures the matmuls of one generated token of SmolLM2-135M on two cores, whose
// weights come from memory: 30 layers and the embedding as head.
func BenchmarkQuantToken(b *testing.B) {
	shapes := [][2]int{{49152, 576}}
	for range 30 {
		shapes = append(shapes, [][2]int{{960, 576}, {576, 576}, {3072, 576}, {576, 1536}}...)
	}
	h := newHost(2, bestMatmul())
	h.pool = startPool(1)
	defer h.pool.stop()
	var parameters int
	for _, s := range shapes {
		parameters += s[0] * s[1]
	}
	b.Run("f32", func(b *testing.B) {
		var calls []shaders.Gemm
		for _, s := range shapes {
			g := randomGemm(1, s[0], s[1], false, true, 0)
			g.Alpha = 1
			calls = append(calls, g)
		}
		benchmarkQuant(b, func() {
			for _, g := range calls {
				h.Gemm(g)
			}
		}, 1, parameters, 1, 4*parameters)
	})
	for _, f := range []quant.Format{quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1} {
		var calls []shaders.GemmQuant
		for _, s := range shapes {
			calls = append(calls, randomQuant(f, 1, s[0], s[1], true))
		}
		b.Run(f.String(), func(b *testing.B) {
			benchmarkQuant(b, func() {
				for _, g := range calls {
					h.GemmQuant(g)
				}
			}, 1, parameters, 1, f.Bytes(parameters))
		})
	}
}
