package gguf

import (
	"encoding/binary"
	"math"

	"patchwork/shaders/half"
	"patchwork/shaders/quant"
	"patchwork/shaders/quant/simd"
)

func word(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeF16(dst []float32, src []byte) {
	f16 := half.Table()
	for i := range dst {
		dst[i] = f16[word(src[2*i:])]
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half.FromBF16(word(src[2*i:]))
	}
}

// decodeBlocks decodes whole blocks.
func decodeBlocks(f quant.Format) func(dst []float32, src []byte) {
	return func(dst []float32, src []byte) { simd.Decode(f, dst, src) }
}
