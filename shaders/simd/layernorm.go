package simd

import "math"

// Moments returns the mean and the variance of x, without Bessel's correction. The mean
// is refined by a second sum over the residuals; what single precision cannot hold is
// summed in double.
func Moments(x []float32) (mean, variance float64) {
	n := float64(len(x))
	first := float32(sumDiffs(x, 0) / n)
	mean = float64(first) + sumDiffs(x, first)/n
	center := float32(mean)
	variance = chunked(len(x), func(lo, hi int) float32 { return sumSquaresDiff(x[lo:hi], center) }) / n
	if math.IsNaN(variance) || math.IsInf(variance, 0) {
		return momentsDouble(x)
	}
	return mean, variance
}

func sumDiffs(x []float32, d float32) float64 {
	return chunked(len(x), func(lo, hi int) float32 { return sumDiff(x[lo:hi], d) })
}

func momentsDouble(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, variance / float64(len(x))
}

// LayerNorm computes y = (x - mean)·rstd·w + b.
func LayerNorm(y, x, w, b []float32, mean, rstd float32) {
	n := len(y)
	layerNorm(y, x[:n], w[:n], b[:n], mean, rstd)
}

// LayerNormSums adds dy·(x - mean)·rstd to dw and dy to db.
func LayerNormSums(dw, db, dy, x []float32, mean, rstd float32) {
	n := len(dw)
	layerNormSums(dw, db[:n], dy[:n], x[:n], mean, rstd)
}

// LayerNormGradient computes, with g = dy·w and x̂ = (x - mean)·rstd,
// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)), or adds it.
func LayerNormGradient(dx, dy, w, x []float32, mean, rstd float32, accumulate bool) {
	n, f := len(dx), layerNormGradient
	if accumulate {
		f = layerNormGradientAdd
	}
	dy, w, x = dy[:n], w[:n], x[:n]
	a := Dot(dy, w) / float64(n)
	b := chunked(n, func(lo, hi int) float32 { return layerNormDot(dy[lo:hi], w[lo:hi], x[lo:hi], mean, rstd) }) / float64(n)
	f(dx, dy, w, x, mean, rstd, float32(a), float32(b))
}
