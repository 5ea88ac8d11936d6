package simd

import (
	"golang.org/x/sys/cpu"

	"patchwork/shaders/quant"
)

// quantize quantises a row, of which every step-th block is written.
func quantize(blocks []Block, scales []Scale, step int, a []float32, offset int) {
	n := len(a) / Values
	if n == 0 || offset != 0 {
		quantizeGo(blocks, scales, step, a, offset)
		return
	}
	_, _ = blocks[(n-1)*step], scales[(n-1)*step]
	quantizeNEON(&blocks[0].Values[0], &scales[0].Scale, step, &a[0], n)
}

// setDotProd needs FEAT_DotProd, which every processor since the Cortex-A75 and Apple's A12 has; a
// Cortex-A72, as in a Raspberry Pi 4, has not.
var setDotProd = Set{Name: "NEON dotprod", Formats: [...]Format{
	quant.Q8_0: {Dots: []Dots{dotsQ8_0DotProd_1, dotsQ8_0DotProd_2, dotsQ8_0DotProd_3, dotsQ8_0DotProd_4}, Decode: decodeQ8_0NEON},
	quant.Q4_0: {Dots: []Dots{dotsQ4_0DotProd_1, dotsQ4_0DotProd_2, dotsQ4_0DotProd_3, dotsQ4_0DotProd_4}, Decode: decodeQ4_0NEON},
	quant.Q4_1: {Dots: []Dots{dotsQ4_1DotProd_1, dotsQ4_1DotProd_2, dotsQ4_1DotProd_3, dotsQ4_1DotProd_4}, Decode: decodeQ4_1NEON},
	quant.Q5_0: {Dots: []Dots{dotsQ5_0DotProd_1, dotsQ5_0DotProd_2, dotsQ5_0DotProd_3, dotsQ5_0DotProd_4}, Decode: decodeQ5_0NEON},
	quant.Q5_1: {Dots: []Dots{dotsQ5_1DotProd_1, dotsQ5_1DotProd_2, dotsQ5_1DotProd_3, dotsQ5_1DotProd_4}, Decode: decodeQ5_1NEON},
	quant.Q4_K: {Dots: []Dots{dotsQ4_KDotProd_1, dotsQ4_KDotProd_2, dotsQ4_KDotProd_3, dotsQ4_KDotProd_4}, Decode: decodeQ4_KNEON},
	quant.Q5_K: {Dots: []Dots{dotsQ5_KDotProd_1, dotsQ5_KDotProd_2, dotsQ5_KDotProd_3, dotsQ5_KDotProd_4}, Decode: decodeQ5_KNEON},
	quant.Q6_K: {Dots: []Dots{dotsQ6_KDotProd_1, dotsQ6_KDotProd_2, dotsQ6_KDotProd_3, dotsQ6_KDotProd_4}, Decode: decodeQ6_KNEON},
}}

var setNEON = Set{Name: "NEON", Formats: [...]Format{
	quant.Q8_0: {Dots: []Dots{dotsQ8_0NEON_1, dotsQ8_0NEON_2, dotsQ8_0NEON_3, dotsQ8_0NEON_4}, Decode: decodeQ8_0NEON},
	quant.Q4_0: {Dots: []Dots{dotsQ4_0NEON_1, dotsQ4_0NEON_2, dotsQ4_0NEON_3, dotsQ4_0NEON_4}, Decode: decodeQ4_0NEON},
	quant.Q4_1: {Dots: []Dots{dotsQ4_1NEON_1, dotsQ4_1NEON_2, dotsQ4_1NEON_3, dotsQ4_1NEON_4}, Decode: decodeQ4_1NEON},
	quant.Q5_0: {Dots: []Dots{dotsQ5_0NEON_1, dotsQ5_0NEON_2, dotsQ5_0NEON_3, dotsQ5_0NEON_4}, Decode: decodeQ5_0NEON},
	quant.Q5_1: {Dots: []Dots{dotsQ5_1NEON_1, dotsQ5_1NEON_2, dotsQ5_1NEON_3, dotsQ5_1NEON_4}, Decode: decodeQ5_1NEON},
	quant.Q4_K: {Dots: []Dots{dotsQ4_KNEON_1, dotsQ4_KNEON_2, dotsQ4_KNEON_3, dotsQ4_KNEON_4}, Decode: decodeQ4_KNEON},
	quant.Q5_K: {Dots: []Dots{dotsQ5_KNEON_1, dotsQ5_KNEON_2, dotsQ5_KNEON_3, dotsQ5_KNEON_4}, Decode: decodeQ5_KNEON},
	quant.Q6_K: {Dots: []Dots{dotsQ6_KNEON_1, dotsQ6_KNEON_2, dotsQ6_KNEON_3, dotsQ6_KNEON_4}, Decode: decodeQ6_KNEON},
}}

// Sets returns the kernels that this processor supports, the best first.
func Sets() []Set {
	if cpu.ARM64.HasASIMDDP {
		return []Set{setDotProd, setNEON}
	}
	return []Set{setNEON}
}
