package simd

import (
	"golang.org/x/sys/cpu"

	"patchwork/shaders/half"
)

// packWhole packs the largest multiple of the vector length. Every processor with AVX2
// converts F16 too.
func packWhole(f half.Format, dst []uint16, src []float32) (done int) {
	n := len(src) / 8
	if !hasAVX2 || n == 0 {
		return 0
	}
	_ = dst[8*n-1]
	if f == half.BF16 {
		packBF16AVX2(&dst[0], &src[0], n)
	} else {
		packF16AVX2(&dst[0], &src[0], n)
	}
	return 8 * n
}

func unpackWhole(f half.Format, dst []float32, src []uint16) (done int) {
	n := len(src) / 8
	if !hasAVX2 || n == 0 {
		return 0
	}
	_ = dst[8*n-1]
	if f == half.BF16 {
		unpackBF16AVX2(&dst[0], &src[0], n)
	} else {
		unpackF16AVX2(&dst[0], &src[0], n)
	}
	return 8 * n
}

// NarrowDots returns the kernels for 1 row of a and more over b in 16 bits, nil where
// this processor has none.
func NarrowDots(f half.Format) []NarrowDotsKernel {
	switch {
	case !hasAVX2:
		return nil
	case cpu.X86.HasAVX512F && f == half.BF16:
		return []NarrowDotsKernel{dotsBF16AVX512_1, dotsBF16AVX512_2, dotsBF16AVX512_3, dotsBF16AVX512_4}
	case cpu.X86.HasAVX512F:
		return []NarrowDotsKernel{dotsF16AVX512_1, dotsF16AVX512_2, dotsF16AVX512_3, dotsF16AVX512_4}
	case f == half.BF16:
		return []NarrowDotsKernel{dotsBF16AVX2_1, dotsBF16AVX2_2, dotsBF16AVX2_3, dotsBF16AVX2_4}
	}
	return []NarrowDotsKernel{dotsF16AVX2_1, dotsF16AVX2_2, dotsF16AVX2_3, dotsF16AVX2_4}
}
