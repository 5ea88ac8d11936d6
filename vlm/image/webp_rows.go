package image

import (
	"image"

	"patchwork/vlm/image/simd"
)

// webpLines converts the lossy decoder's YCbCr to RGB as libwebp does: with interpolated
// chroma ("fancy upsampling", src/dsp/upsampling.c), and ITU-R BT.601 with luma 16 to 235 in
// fixed point (src/dsp/yuv.h). Go's color model assumes full range, which is off by up to 17
// of 255.
func webpLines(m *image.YCbCr) func(dst []byte, y int) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	u, v := make([]byte, w), make([]byte, w)
	return func(dst []byte, y int) {
		near, far := y/2, (y+1)/2
		if y%2 == 0 {
			far = max(0, near-1)
		} else if y == h-1 {
			far = near
		}
		simd.UpsampleWebP(u[:w], m.Cb[near*m.CStride:], m.Cb[far*m.CStride:])
		simd.UpsampleWebP(v[:w], m.Cr[near*m.CStride:], m.Cr[far*m.CStride:])
		simd.LimitedRange(dst, m.Y[y*m.YStride:][:w], u, v)
	}
}
