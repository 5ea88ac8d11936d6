package simd

import "patchwork/shaders/quant"

var quantize = quantizeGo

// Sets returns the kernels that tools/wasmgen writes, where WebAssembly has SIMD.
func Sets() []Set {
	if available() == 0 {
		return nil
	}
	// Relaxed SIMD has the same kernels, by other instructions.
	return []Set{{Name: "WebAssembly SIMD", Formats: [...]Format{
		quant.Q8_0: {Dots: dots(dotsQ8_0), Decode: decoder(decodeQ8_0)},
		quant.Q4_0: {Offset: 8, Dots: dots(dotsQ4_0), Decode: decoder(decodeQ4_0)},
		quant.Q4_1: {Dots: dots(dotsQ4_1), Decode: decoder(decodeQ4_1)},
		quant.Q5_0: {Offset: 16, Dots: dots(dotsQ5_0), Decode: decoder(decodeQ5_0)},
		quant.Q5_1: {Dots: dots(dotsQ5_1), Decode: decoder(decodeQ5_1)},
		quant.Q4_K: {Grouped: true, Dots: dots(dotsQ4_K), Decode: decoder(decodeQ4_K)},
		quant.Q5_K: {Grouped: true, Dots: dots(dotsQ5_K), Decode: decoder(decodeQ5_K)},
		quant.Q6_K: {Offset: 32, Grouped: true, Dots: dots(dotsQ6_K), Decode: decoder(decodeQ6_K)},
	}}}
}

// WebAssembly's memory has addresses of 32 bits, so that strides fit.

func dots(f func(blocks int32, a *int8, scales *float32, b *byte, n int32, c *float32, ldc int32, beta float32)) []Dots {
	return []Dots{func(blocks int, a *int8, scales *float32, b *byte, n int, c *float32, ldc int, beta float32) {
		f(int32(blocks), a, scales, b, int32(n), c, int32(ldc), beta)
	}}
}

func decoder(f func(dst *float32, ldd int32, src *byte, lds, rows, group int32)) Decoder {
	return func(dst *float32, ldd int, src *byte, lds, rows, group int) {
		f(dst, int32(ldd), src, int32(lds), int32(rows), int32(group))
	}
}
