//go:build !amd64 && !arm64 && !wasm

package simd

// Tiles returns no microkernels: there is no assembly for this processor.
func Tiles() []Tile { return nil }

// Pause is the processor's spin-wait hint.
func Pause() {}

// Transpose writes the transpose of src [rows,cols] to dst [cols,rows], with leading
// dimensions ldd and lds.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeRest(dst, ldd, src, lds, rows, 0, cols)
}
