// Package simd holds the inner loops of the kernels' CPU forms: in assembly for
// processors with AVX2, AVX-512 or NEON, written by tools/simdgen, as WebAssembly with SIMD, written by
// tools/wasmgen, in Go elsewhere.
package simd

// transposeRest transposes columns [from,cols) of src.
func transposeRest(dst []float32, ldd int, src []float32, lds, rows, from, cols int) {
	for j := from; j < cols; j++ {
		for i := range rows {
			dst[j*ldd+i] = src[i*lds+j]
		}
	}
}
