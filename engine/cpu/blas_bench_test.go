//go:build !windows && !js

package cpu

import (
	"testing"
	"time"

	"patchwork/shaders"
)

// BenchmarkAgainstOpenBLAS multiplies 1024³ on the device and, interleaved, by OpenBLAS
// called directly with its own two threads. With OPENBLAS_CORETYPE=SkylakeX a release
// older than the processor uses its AVX-512 kernels.
func BenchmarkAgainstOpenBLAS(b *testing.B) {
	lib, sgemm, err := openBLAS()
	if err != nil {
		b.Skip("needs libopenblas0: ", err)
	}
	setBLASThreads(lib, 2)
	defer setBLASThreads(lib, 1)
	h := newHost(2, bestMatmul())
	g := randomGemm(1024, 1024, 1024, false, false, 0)
	g.Alpha = 1
	callSGEMM(sgemm, g)
	least := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		for i, multiply := range []func(shaders.Gemm){h.Gemm, func(g shaders.Gemm) { callSGEMM(sgemm, g) }} {
			start := time.Now()
			multiply(g)
			least[i] = min(least[i], time.Since(start))
		}
	}
	const flops = 2 << 30
	b.ReportMetric(flops/least[0].Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(flops/least[1].Seconds()/1e9, "OpenBLAS-GFLOP/s")
	b.ReportMetric(least[1].Seconds()/least[0].Seconds(), "speedup")
}
