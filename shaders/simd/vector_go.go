package simd

import "math"

// The loops in Go; the assembly computes the same with fused multiply-adds and sums in
// several lanes.
var (
	add                = addGo
	scale              = scaleGo
	largest            = largestGo
	dot                = dotGo
	sumSquares         = sumSquaresGo
	expSum             = expSumGo
	expDot             = expDotGo
	mulDiff            = mulDiffGo
	swiglu             = swigluGo
	swigluGradient     = swigluGradientGo
	swigluGradientAdd  = swigluGradientAddGo
	rmsNorm            = rmsNormGo
	rmsNormSums        = rmsNormSumsGo
	rmsNormGradient    = rmsNormGradientGo
	rmsNormGradientAdd = rmsNormGradientAddGo
	rotate             = rotateGo
	rotateAdd          = rotateAddGo
	adamW              = adamWGo
)

// Those of GELU, softmax and LayerNorm.
var (
	gelu                 = geluGo
	geluGradient         = geluGradientGo
	geluGradientAdd      = geluGradientAddGo
	masked               = maskedGo
	softmaxGradient      = softmaxGradientGo
	softmaxGradientAdd   = softmaxGradientAddGo
	sumDiff              = sumDiffGo
	sumSquaresDiff       = sumSquaresDiffGo
	layerNorm            = layerNormGo
	layerNormSums        = layerNormSumsGo
	layerNormDot         = layerNormDotGo
	layerNormGradient    = layerNormGradientGo
	layerNormGradientAdd = layerNormGradientAddGo
)

func addGo(y, a, b []float32) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func scaleGo(y, x []float32, f float32) {
	for i := range y {
		y[i] = x[i] * f
	}
}

func largestGo(x []float32) float32 {
	largest := float32(math.Inf(-1))
	for _, v := range x {
		if v > largest {
			largest = v
		}
	}
	return largest
}

func dotGo(x, y []float32) float32 {
	var sum float64
	for i := range x {
		sum += float64(x[i]) * float64(y[i])
	}
	return float32(sum)
}

func sumSquaresGo(x []float32) float32 { return dotGo(x, x) }

func expSumGo(y, x []float32, shift float32) float32 {
	var sum float64
	for i := range y {
		y[i] = Exp(x[i] - shift)
		sum += float64(y[i])
	}
	return float32(sum)
}

func expDotGo(y, x []float32, shift float32) float32 {
	var sum float64
	for i := range y {
		y[i] = Exp(y[i] - shift)
		sum += float64(y[i]) * float64(x[i])
	}
	return float32(sum)
}

func mulDiffGo(y, x []float32, d float32) {
	for i := range y {
		y[i] = x[i] * (y[i] - d)
	}
}

func swigluGo(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = g * Sigmoid(g) * up[i]
	}
}

func swigluSlopes(gate, up, dy float32) (dgate, dup float32) {
	s := Sigmoid(gate)
	return dy * up * s * (1 + gate*(1-s)), dy * gate * s
}

func swigluGradientGo(dgate, dup, gate, up, dy []float32) {
	for i := range dgate {
		dgate[i], dup[i] = swigluSlopes(gate[i], up[i], dy[i])
	}
}

func swigluGradientAddGo(dgate, dup, gate, up, dy []float32) {
	for i := range dgate {
		a, b := swigluSlopes(gate[i], up[i], dy[i])
		dgate[i], dup[i] = dgate[i]+a, dup[i]+b
	}
}

func rmsNormGo(y, x, w []float32, rstd float32) {
	for i := range y {
		y[i] = x[i] * rstd * w[i]
	}
}

func rmsNormSumsGo(dw, dy, x, w []float32, rstd float32) float32 {
	var sum float64
	for i := range dw {
		t := dy[i] * x[i] * rstd
		dw[i] += t
		sum += float64(t * w[i])
	}
	return float32(sum)
}

func rmsNormGradientGo(dx, dy, w, x []float32, rstd, a float32) {
	for i := range dx {
		dx[i] = rstd * (dy[i]*w[i] - x[i]*a)
	}
}

func rmsNormGradientAddGo(dx, dy, w, x []float32, rstd, a float32) {
	for i := range dx {
		dx[i] += rstd * (dy[i]*w[i] - x[i]*a)
	}
}

func rotateGo(y0, y1, x0, x1, cos, sin []float32, sign float32) {
	for i := range y0 {
		c, s := cos[i], sign*sin[i]
		y0[i], y1[i] = x0[i]*c-x1[i]*s, x1[i]*c+x0[i]*s
	}
}

func rotateAddGo(y0, y1, x0, x1, cos, sin []float32, sign float32) {
	for i := range y0 {
		c, s := cos[i], sign*sin[i]
		y0[i], y1[i] = y0[i]+(x0[i]*c-x1[i]*s), y1[i]+(x1[i]*c+x0[i]*s)
	}
}

func adamWGo(w, m, v, g []float32, factor, beta1, rest1, beta2, rest2, decay, rate, correction, eps float32) {
	for i := range w {
		gi := g[i] * factor
		m[i] = beta1*m[i] + rest1*gi
		v[i] = beta2*v[i] + rest2*gi*gi
		w[i] = w[i]*decay - rate*m[i]/(float32(math.Sqrt(float64(v[i])))*correction+eps)
	}
}
