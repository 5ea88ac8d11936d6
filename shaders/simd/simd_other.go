//go:build !amd64

package simd

// Tiles returns no microkernels: there is no assembly for this processor.
func Tiles() []Tile { return nil }

// Pause tells the processor that a loop waits for another thread.
func Pause() {}

// Transpose writes the transpose of src [rows,cols] to dst [cols,rows], whose
// rows lie ldd and lds apart.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeRest(dst, ldd, src, lds, rows, 0, cols)
}
