package simd

// sumChunk is how many elements are summed in single precision before the sum continues
// in double.
const sumChunk = 2048

// chunked adds up f over chunks of [0,n).
func chunked(n int, f func(lo, hi int) float32) float64 {
	var total float64
	for lo := 0; lo < n; lo += sumChunk {
		total += float64(f(lo, min(lo+sumChunk, n)))
	}
	return total
}

// Add computes y = a + b. All slices have the length of the first, here and below.
func Add(y, a, b []float32) { add(y, a[:len(y)], b[:len(y)]) }

// Scale computes y = f·x.
func Scale(y, x []float32, f float32) { scale(y, x[:len(y)], f) }

// Max is the largest element of x, -Inf when there is none.
func Max(x []float32) float32 { return largest(x) }

// Dot is Σ x·y.
func Dot(x, y []float32) float64 {
	y = y[:len(x)]
	return chunked(len(x), func(lo, hi int) float32 { return dot(x[lo:hi], y[lo:hi]) })
}

// SumSquares is Σ x².
func SumSquares(x []float32) float64 {
	return chunked(len(x), func(lo, hi int) float32 { return sumSquares(x[lo:hi]) })
}

// ExpSum computes y = exp(x - shift) and returns Σ y.
func ExpSum(y, x []float32, shift float32) float64 {
	x = x[:len(y)]
	return chunked(len(y), func(lo, hi int) float32 { return expSum(y[lo:hi], x[lo:hi], shift) })
}

// ExpDot computes y = exp(y - shift) and returns Σ y·x.
func ExpDot(y, x []float32, shift float32) float64 {
	x = x[:len(y)]
	return chunked(len(y), func(lo, hi int) float32 { return expDot(y[lo:hi], x[lo:hi], shift) })
}

// MulDiff computes y = x·(y - d).
func MulDiff(y, x []float32, d float32) { mulDiff(y, x[:len(y)], d) }

// SwiGLU computes y = gate·sigmoid(gate)·up.
func SwiGLU(y, gate, up []float32) { swiglu(y, gate[:len(y)], up[:len(y)]) }

// SwiGLUGradient computes, with s = sigmoid(gate), dgate = dy·up·s·(1 + gate·(1-s))
// and dup = dy·gate·s, or adds to both.
func SwiGLUGradient(dgate, dup, gate, up, dy []float32, accumulate bool) {
	n, f := len(dgate), swigluGradient
	if accumulate {
		f = swigluGradientAdd
	}
	f(dgate, dup[:n], gate[:n], up[:n], dy[:n])
}

// RMSNorm computes y = x·rstd·w.
func RMSNorm(y, x, w []float32, rstd float32) { rmsNorm(y, x[:len(y)], w[:len(y)], rstd) }

// RMSNormSums adds dy·x·rstd to dw and returns Σ dy·x·rstd·w.
func RMSNormSums(dw, dy, x, w []float32, rstd float32) float64 {
	n := len(dw)
	dy, x, w = dy[:n], x[:n], w[:n]
	return chunked(n, func(lo, hi int) float32 { return rmsNormSums(dw[lo:hi], dy[lo:hi], x[lo:hi], w[lo:hi], rstd) })
}

// RMSNormGradient computes dx = rstd·(dy·w - x·a), or adds it.
func RMSNormGradient(dx, dy, w, x []float32, rstd, a float32, accumulate bool) {
	n, f := len(dx), rmsNormGradient
	if accumulate {
		f = rmsNormGradientAdd
	}
	f(dx, dy[:n], w[:n], x[:n], rstd, a)
}

// Rotate rotates the pairs (x0, x1) by angles of the given cosines and, multiplied by
// sign, sines, or adds the results to (y0, y1).
func Rotate(y0, y1, x0, x1, cos, sin []float32, sign float32, accumulate bool) {
	n, f := len(y0), rotate
	if accumulate {
		f = rotateAdd
	}
	f(y0, y1[:n], x0[:n], x1[:n], cos[:n], sin[:n], sign)
}

// AdamStep are the parameters of a step of AdamW.
type AdamStep struct {
	Factor            float32 // of the gradients
	Beta1, Beta2, Eps float32
	Decay             float32 // of the weights: 1 - lr·decay
	Rate              float32 // lr/(1-β₁ᵗ)
	Correction        float32 // 1/√(1-β₂ᵗ)
}

// AdamW computes one step on weights w with moments m and v and gradients g.
func AdamW(w, m, v, g []float32, s AdamStep) {
	n := len(w)
	adamW(w, m[:n], v[:n], g[:n], s.Factor, s.Beta1, 1-s.Beta1, s.Beta2, 1-s.Beta2, s.Decay, s.Rate, s.Correction, s.Eps)
}
