package simd

func init() {
	if !hasAVX2 {
		return
	}
	add, scale, largest, dot, sumSquares = addAVX2, scaleAVX2, largestAVX2, dotAVX2, sumSquaresAVX2
	expSum, expDot, mulDiff = expSumAVX2, expDotAVX2, mulDiffAVX2
	swiglu, swigluGradient, swigluGradientAdd = swigluAVX2, swigluGradientAVX2, swigluGradientAddAVX2
	rmsNorm, rmsNormSums = rmsNormAVX2, rmsNormSumsAVX2
	rmsNormGradient, rmsNormGradientAdd = rmsNormGradientAVX2, rmsNormGradientAddAVX2
	gelu, geluGradient, geluGradientAdd = geluAVX2, geluGradientAVX2, geluGradientAddAVX2
	masked, softmaxGradient, softmaxGradientAdd = maskedAVX2, softmaxGradientAVX2, softmaxGradientAddAVX2
	sumDiff, sumSquaresDiff, layerNorm = sumDiffAVX2, sumSquaresDiffAVX2, layerNormAVX2
	layerNormSums, layerNormDot = layerNormSumsAVX2, layerNormDotAVX2
	layerNormGradient, layerNormGradientAdd = layerNormGradientAVX2, layerNormGradientAddAVX2
	rotate, rotateAdd, adamW = rotateAVX2, rotateAddAVX2, adamWAVX2
}
