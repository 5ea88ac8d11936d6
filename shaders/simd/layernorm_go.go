package simd

func sumDiffGo(x []float32, d float32) float32 {
	var sum float64
	for _, v := range x {
		sum += float64(v - d)
	}
	return float32(sum)
}

func sumSquaresDiffGo(x []float32, d float32) float32 {
	var sum float64
	for _, v := range x {
		sum += float64(v-d) * float64(v-d)
	}
	return float32(sum)
}

func layerNormGo(y, x, w, b []float32, mean, rstd float32) {
	for i := range y {
		y[i] = (x[i]-mean)*rstd*w[i] + b[i]
	}
}

func layerNormSumsGo(dw, db, dy, x []float32, mean, rstd float32) {
	for i := range dw {
		dw[i] += dy[i] * ((x[i] - mean) * rstd)
		db[i] += dy[i]
	}
}

func layerNormDotGo(dy, w, x []float32, mean, rstd float32) float32 {
	var sum float64
	for i := range dy {
		sum += float64(dy[i]*w[i]) * float64((x[i]-mean)*rstd)
	}
	return float32(sum)
}

func layerNormGradientGo(dx, dy, w, x []float32, mean, rstd, a, b float32) {
	for i := range dx {
		dx[i] = rstd * (dy[i]*w[i] - a - (x[i]-mean)*rstd*b)
	}
}

func layerNormGradientAddGo(dx, dy, w, x []float32, mean, rstd, a, b float32) {
	for i := range dx {
		dx[i] += rstd * (dy[i]*w[i] - a - (x[i]-mean)*rstd*b)
	}
}
