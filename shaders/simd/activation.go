package simd

import (
	"math"
	"slices"
	"unsafe"
)

// GELU computes y = x·sigmoid(2√(2/π)·(x + 0.044715·x³)).
func GELU(y, x []float32) { gelu(y, x[:len(y)]) }

// GELUGradient computes dx = dy·GELU'(x), or adds it.
func GELUGradient(dx, x, dy []float32, accumulate bool) {
	n, f := len(dx), geluGradient
	if accumulate {
		f = geluGradientAdd
	}
	f(dx, x[:n], dy[:n])
}

// Softmax computes y = softmax(x) over the elements whose mask is not 0, and 0
// elsewhere.
func Softmax(y, x []float32, mask []int32) {
	if len(y) == 0 {
		return
	}
	mask = mask[:len(y)]
	masked(y, x[:len(y)], unsafe.Slice((*float32)(unsafe.Pointer(&mask[0])), len(mask)))
	rowMax := Max(y)
	if math.IsInf(float64(rowMax), -1) && !slices.ContainsFunc(mask, func(m int32) bool { return m != 0 }) {
		clear(y)
		return
	}
	sum := ExpSum(y, y, rowMax)
	Scale(y, y, float32(1/sum))
	if math.IsNaN(sum) { // 0 times it is not 0
		for i, m := range mask {
			if m == 0 {
				y[i] = 0
			}
		}
	}
}

// SoftmaxGradient computes dx = y·(dy - d), or adds it.
func SoftmaxGradient(dx, y, dy []float32, d float32, accumulate bool) {
	n, f := len(dx), softmaxGradient
	if accumulate {
		f = softmaxGradientAdd
	}
	f(dx, y[:n], dy[:n], d)
}
