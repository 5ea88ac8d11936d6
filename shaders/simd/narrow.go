package simd

import "patchwork/shaders/half"

// Pack rounds src to 16 bits, to the nearest, ties to even; dst is as long.
func Pack(f half.Format, dst []uint16, src []float32) {
	done := packWhole(f, dst, src)
	f.Pack(dst[done:len(src)], src[done:])
}

// Unpack widens src to float32; dst is as long.
func Unpack(f half.Format, dst []float32, src []uint16) {
	done := unpackWhole(f, dst, src)
	f.Unpack(dst[done:len(src)], src[done:])
}
