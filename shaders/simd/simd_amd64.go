package simd

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

var tileAVX2 = Tile{
	Name: "AVX2", Rows: 6, Cols: 16, CopyRows: copyRows16AVX2,
	Kernels: []Microkernel{gemmAVX2_1, gemmAVX2_2, gemmAVX2_3, gemmAVX2_4, gemmAVX2_5, gemmAVX2_6},
	Dots:    []DotsKernel{dotsAVX2_1, dotsAVX2_2, dotsAVX2_3, dotsAVX2_4},
}

var tileAVX512 = Tile{
	Name: "AVX-512", Rows: 12, Cols: 32, CopyRows: copyRows32AVX512, CopyPart: copyPartAVX512,
	Kernels: []Microkernel{
		gemmAVX512_1, gemmAVX512_2, gemmAVX512_3, gemmAVX512_4, gemmAVX512_5, gemmAVX512_6,
		gemmAVX512_7, gemmAVX512_8, gemmAVX512_9, gemmAVX512_10, gemmAVX512_11, gemmAVX512_12,
	},
	Dots: []DotsKernel{dotsAVX512_1, dotsAVX512_2, dotsAVX512_3, dotsAVX512_4},
}

// bf16Kernels have the rows and columns of tileAVX512.
var bf16Kernels = []BF16Kernel{
	gemmBF16_1, gemmBF16_2, gemmBF16_3, gemmBF16_4, gemmBF16_5, gemmBF16_6,
	gemmBF16_7, gemmBF16_8, gemmBF16_9, gemmBF16_10, gemmBF16_11, gemmBF16_12,
}

// Tiles returns the microkernels that this processor supports, the best first; none where
// there is no assembly for it.
func Tiles() []Tile {
	switch {
	case hasAVX2 && cpu.X86.HasAVX512F:
		wide := tileAVX512
		if cpu.X86.HasAVX512BF16 {
			wide.BF16, wide.PairRows = bf16Kernels, pairRows
		}
		return []Tile{wide, tileAVX2}
	case hasAVX2:
		return []Tile{tileAVX2}
	}
	return nil
}

// Pause is the processor's spin-wait hint.
func Pause() { pause() }

// Transpose writes the transpose of src [rows,cols] to dst [cols,rows], with leading
// dimensions ldd and lds.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r := 0
	if hasAVX2 {
		for ; r+8 <= rows && cols >= 8; r += 8 {
			transpose8AVX2(&dst[r], ldd, &src[r*lds], lds, cols/8)
			transposeRest(dst[r:], ldd, src[r*lds:], lds, 8, cols&^7, cols)
		}
		for ; r+4 <= rows && cols >= 4; r += 4 {
			transpose4AVX2(&dst[r], ldd, &src[r*lds], lds, cols/4)
			transposeRest(dst[r:], ldd, src[r*lds:], lds, 4, cols&^3, cols)
		}
	}
	if r < rows {
		transposeRest(dst[r:], ldd, src[r*lds:], lds, rows-r, 0, cols)
	}
}
