package simd

import (
	"unsafe"

	"patchwork/shaders/half"
)

// hasModule: the functions that tools/wasmgen writes may be called; not where WebAssembly has no SIMD.
var hasModule = available() != 0

// Tiles returns the microkernels, if there are any.
func Tiles() []Tile {
	if !hasModule {
		return nil
	}
	name := "WebAssembly SIMD"
	if available() == 2 {
		name = "WebAssembly relaxed SIMD"
	}
	return []Tile{{
		Name: name, Rows: 4, Cols: 8, CopyRows: copyRows,
		Kernels: []Microkernel{microkernel(gemm_1), microkernel(gemm_2), microkernel(gemm_3), microkernel(gemm_4)},
		Dots:    []DotsKernel{dotsKernel(dots_1), dotsKernel(dots_2), dotsKernel(dots_3), dotsKernel(dots_4)},
	}}
}

// WebAssembly's memory has addresses of 32 bits, so that strides fit.

func microkernel(f func(k int32, a *float32, rs, ks int32, b *float32, ldb int32, c *float32, ldc, n int32, alpha, beta float32)) Microkernel {
	return func(k int, a *float32, rs, ks int, b *float32, ldb int, c *float32, ldc, n int, alpha, beta float32) {
		f(int32(k), a, int32(rs), int32(ks), b, int32(ldb), c, int32(ldc), int32(n), alpha, beta)
	}
}

func dotsKernel[T float32 | uint16](f func(k int32, a *float32, lda int32, b *T, ldb, n int32, c *float32, ldc int32, alpha, beta float32)) func(k int, a *float32, lda int, b *T, ldb, n int, c *float32, ldc int, alpha, beta float32) {
	return func(k int, a *float32, lda int, b *T, ldb, n int, c *float32, ldc int, alpha, beta float32) {
		f(int32(k), a, int32(lda), b, int32(ldb), int32(n), c, int32(ldc), alpha, beta)
	}
}

// NarrowDots returns the kernels for 1 row of a and more over b in 16 bits, if there are any.
func NarrowDots(f half.Format) []NarrowDotsKernel {
	switch {
	case !hasModule:
		return nil
	case f == half.BF16:
		return []NarrowDotsKernel{dotsKernel(dotsBF16_1), dotsKernel(dotsBF16_2), dotsKernel(dotsBF16_3), dotsKernel(dotsBF16_4)}
	}
	return []NarrowDotsKernel{dotsKernel(dotsF16_1), dotsKernel(dotsF16_2), dotsKernel(dotsF16_3), dotsKernel(dotsF16_4)}
}

// copyRows copies rows of 8 values, lds apart, to follow each other.
func copyRows(dst, src *float32, lds, rows int) {
	const cols = 8
	to, from := unsafe.Slice(dst, cols*rows), unsafe.Slice(src, (rows-1)*lds+cols)
	for i := range rows {
		copy(to[cols*i:][:cols], from[i*lds:])
	}
}

func packWhole(half.Format, []uint16, []float32) int   { return 0 }
func unpackWhole(half.Format, []float32, []uint16) int { return 0 }

// Pause is the processor's spin-wait hint.
func Pause() {}

// Transpose writes the transpose of src [rows,cols] to dst [cols,rows], with leading
// dimensions ldd and lds.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r, c := rows&^3, cols&^3
	if r == 0 || c == 0 || !hasModule {
		r, c = 0, 0
	} else {
		transpose(&dst[0], int32(ldd), &src[0], int32(lds), int32(r), int32(c))
		transposeRest(dst, ldd, src, lds, r, c, cols)
	}
	if r < rows {
		transposeRest(dst[r:], ldd, src[r*lds:], lds, rows-r, 0, cols)
	}
}
