// Package simd holds the inner loops of decoding and resizing images: in assembly for
// processors with AVX2, written by tools/simdgen, and in Go elsewhere. Both compute the same
// bits.
package simd

// FullRange converts JFIF's YCbCr (ITU-R BT.601 with luma 0 to 255) to RGB, in libjpeg's
// fixed point. dst has three bytes for each of luma, cb and cr.
func FullRange(dst, luma, cb, cr []byte) {
	n := len(luma)
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	if !hasAVX2 || n < 16 {
		fullRange(dst, luma, cb, cr)
		return
	}
	fullRangeAVX2(&dst[0], &luma[0], &cb[0], &cr[0], n/16)
	if n%16 != 0 { // again with the last 16
		last := n - 16
		fullRangeAVX2(&dst[3*last], &luma[last], &cb[last], &cr[last], 1)
	}
}

func fullRange(dst, luma, cb, cr []byte) {
	for x := range luma {
		y := int32(luma[x])<<16 + 1<<15
		u, v := int32(cb[x])-128, int32(cr[x])-128
		dst[3*x] = clamp((y + 91881*v) >> 16)
		dst[3*x+1] = clamp((y - 22554*u - 46802*v) >> 16)
		dst[3*x+2] = clamp((y + 116130*u) >> 16)
	}
}

func clamp(v int32) byte {
	if uint32(v) <= 255 {
		return byte(v)
	}
	return byte(^(v >> 31)) // 0 below, 255 above
}
