package simd

import (
	"fmt"
	"testing"
	"time"

	"patchwork/shaders/quant"
)

// BenchmarkDots measures every kernel on one goroutine and rows of b that stay in the second-level
// cache: the fastest call, in nanoseconds for 32 values of b and of each row of a.
func BenchmarkDots(b *testing.B) {
	const n, k = 64, 1536
	for _, set := range Sets() {
		for _, f := range quant.Formats {
			elements, _ := f.Block()
			data, kernels := quant.Random(f, n*k/elements, 1), set.Formats[f]
			for rows := 1; rows <= len(kernels.Dots); rows++ {
				a := activations(rows, k)
				blocks, scales, c := make([]Block, rows*k/Values), make([]Scale, rows*k/Values), make([]float32, rows*n)
				kernels.Quantize(blocks, scales, a, k, rows, k)
				b.Run(fmt.Sprintf("%s/%v/%d", set.Name, f, rows), func(b *testing.B) {
					best := time.Hour
					for b.Loop() {
						start := time.Now()
						kernels.Dots[rows-1](k/Values, &blocks[0].Values[0], &scales[0].Scale, &data[0], n, &c[0], n, 0)
						best = min(best, time.Since(start))
					}
					b.ReportMetric(float64(best.Nanoseconds())/(n*k/Values)/float64(rows), "ns/block")
				})
			}
		}
	}
}

// BenchmarkDecode measures the decoding of whole rows, in Go and in assembly.
func BenchmarkDecode(b *testing.B) {
	for _, f := range quant.Formats {
		elements, _ := f.Block()
		const n = 1 << 14
		data, dst := quant.Random(f, n/elements, 1), make([]float32, n)
		for _, d := range []struct {
			name   string
			decode func(quant.Format, []float32, []byte)
		}{{"Go", quant.Format.Decode}, {"assembly", Decode}} {
			b.Run(fmt.Sprintf("%v/%s", f, d.name), func(b *testing.B) {
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					d.decode(f, dst, data)
					best = min(best, time.Since(start))
				}
				b.ReportMetric(float64(best.Nanoseconds())/(n/Values), "ns/block")
			})
		}
	}
}
