package simd

import "math"

// geluScale is 2√(2/π): (1 + tanh(u/2))/2 = sigmoid(u) makes GELU x·sigmoid(inner(x)).
const geluScale = 2 * 0.7978845608028654

func geluInner(x float32) float32 { return x * (geluScale*0.044715*x*x + geluScale) }

func geluSlope(x float32) float32 {
	s := Sigmoid(geluInner(x))
	inner := min(3*geluScale*0.044715*x*x+geluScale, math.MaxFloat32) // 0 times it stays 0
	return s + x*s*(1-s)*inner
}

func geluGo(y, x []float32) {
	for i, v := range x {
		y[i] = v * Sigmoid(geluInner(v))
	}
}

func geluGradientGo(dx, x, dy []float32) {
	for i := range dx {
		dx[i] = dy[i] * geluSlope(x[i])
	}
}

func geluGradientAddGo(dx, x, dy []float32) {
	for i := range dx {
		dx[i] += dy[i] * geluSlope(x[i])
	}
}

func maskedGo(y, x, mask []float32) {
	for i := range y {
		y[i] = float32(math.Inf(-1))
		if math.Float32bits(mask[i]) != 0 {
			y[i] = x[i]
		}
	}
}

func softmaxGradientGo(dx, y, dy []float32, d float32) {
	for i := range dx {
		dx[i] = y[i] * (dy[i] - d)
	}
}

func softmaxGradientAddGo(dx, y, dy []float32, d float32) {
	for i := range dx {
		dx[i] += y[i] * (dy[i] - d)
	}
}
