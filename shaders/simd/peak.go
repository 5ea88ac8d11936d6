package simd

import "math"

// FMABlock is the smallest number of values for FMA's fastest loop.
const FMABlock = 12 * 16

// fmaKernel computes n times x = x·a + b for a block of values in registers.
type fmaKernel struct {
	block int
	run   func(x *float32, n int, a, b float32)
}

// FMA computes n times x = x·a + b for every value.
func FMA(x []float32, a, b float32, n int) {
	if n == 0 {
		return
	}
	for _, k := range fmaKernels {
		for ; len(x) >= k.block; x = x[k.block:] {
			k.run(&x[0], n, a, b)
		}
	}
	for i := range x {
		for range n {
			x[i] = float32(math.FMA(float64(x[i]), float64(a), float64(b)))
		}
	}
}
