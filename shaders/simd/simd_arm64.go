package simd

import (
	"math"
	"unsafe"

	"patchwork/shaders/half"
)

var tileNEON = Tile{
	Name: "NEON", Rows: 6, Cols: 16, CopyRows: copyRows16NEON, CopyPart: copyPartNEON,
	Kernels: []Microkernel{gemmNEON_1, gemmNEON_2, gemmNEON_3, gemmNEON_4, gemmNEON_5, gemmNEON_6},
	Dots:    []DotsKernel{dotsNEON_1, dotsNEON_2, dotsNEON_3, dotsNEON_4},
}

// Tiles returns the microkernels: every arm64 processor that Go supports has NEON.
func Tiles() []Tile { return []Tile{tileNEON} }

// Pause waits a moment in a loop that spins.
func Pause() { pause() }

// Transpose writes the transpose of src [rows,cols] to dst [cols,rows], with leading
// dimensions ldd and lds.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r := 0
	for ; r+8 <= rows && cols >= 4; r += 8 {
		transpose8NEON(&dst[r], ldd, &src[r*lds], lds, cols/4)
		transposeRest(dst[r:], ldd, src[r*lds:], lds, 8, cols&^3, cols)
	}
	for ; r+4 <= rows && cols >= 4; r += 4 {
		transpose4NEON(&dst[r], ldd, &src[r*lds], lds, cols/4)
		transposeRest(dst[r:], ldd, src[r*lds:], lds, 4, cols&^3, cols)
	}
	if r < rows {
		transposeRest(dst[r:], ldd, src[r*lds:], lds, rows-r, 0, cols)
	}
}

func init() {
	add, scale, largest, dot, sumSquares = addNEON, scaleNEON, largestNEON, dotNEON, sumSquaresNEON
	expSum, expDot, mulDiff = expSumNEON, expDotNEON, mulDiffNEON
	swiglu, swigluGradient, swigluGradientAdd = swigluNEON, swigluGradientNEON, swigluGradientAddNEON
	rmsNorm, rmsNormSums = rmsNormNEON, rmsNormSumsNEON
	rmsNormGradient, rmsNormGradientAdd = rmsNormGradientNEON, rmsNormGradientAddNEON
	gelu, geluGradient, geluGradientAdd = geluNEON, geluGradientNEON, geluGradientAddNEON
	masked, softmaxGradient, softmaxGradientAdd = maskedNEON, softmaxGradientNEON, softmaxGradientAddNEON
	sumDiff, sumSquaresDiff, layerNorm = sumDiffNEON, sumSquaresDiffNEON, layerNormNEON
	layerNormSums, layerNormDot = layerNormSumsNEON, layerNormDotNEON
	layerNormGradient, layerNormGradientAdd = layerNormGradientNEON, layerNormGradientAddNEON
	rotate, rotateAdd, adamW = rotateNEON, rotateAddNEON, adamWNEON
}

// packWhole packs the largest multiple of 8 values.
func packWhole(f half.Format, dst []uint16, src []float32) (done int) {
	n := len(src) / 8
	if n == 0 {
		return 0
	}
	_ = dst[8*n-1]
	if f == half.BF16 {
		packBF16NEON(&dst[0], &src[0], n)
	} else {
		packF16NEON(&dst[0], &src[0], n)
	}
	return 8 * n
}

func unpackWhole(f half.Format, dst []float32, src []uint16) (done int) {
	n := len(src) / 8
	if n == 0 {
		return 0
	}
	_ = dst[8*n-1]
	if f == half.BF16 {
		unpackBF16NEON(&dst[0], &src[0], n)
	} else {
		unpackF16NEON(&dst[0], &src[0], n)
	}
	return 8 * n
}

// NarrowDots returns the kernels for 1 row of a and more over b in 16 bits.
func NarrowDots(f half.Format) []NarrowDotsKernel {
	if f == half.BF16 {
		return []NarrowDotsKernel{dotsBF16NEON_1, dotsBF16NEON_2, dotsBF16NEON_3, dotsBF16NEON_4}
	}
	return []NarrowDotsKernel{dotsF16NEON_1, dotsF16NEON_2, dotsF16NEON_3, dotsF16NEON_4}
}

var fmaKernels = []fmaKernel{{64, fmaPairs}}

// fmaPairs is fmaNEON with any n.
func fmaPairs(x *float32, n int, a, b float32) {
	values := (*[64]float32)(unsafe.Pointer(x))
	if n%2 != 0 {
		for i, v := range values {
			values[i] = float32(math.FMA(float64(v), float64(a), float64(b)))
		}
	}
	if n >= 2 {
		repeated := [8]float32{b, b, b, b, b, b, b, b}
		fmaNEON(x, n/2, a, &repeated[0])
	}
}
