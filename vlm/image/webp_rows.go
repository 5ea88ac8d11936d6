package image

import "image"

// webpLines converts the lossy decoder's YCbCr to RGB as libwebp does: with interpolated
// chroma ("fancy upsampling", src/dsp/upsampling.c), and ITU-R BT.601 with luma 16 to 235 in
// fixed point (src/dsp/yuv.h). Go's color model assumes full range, which is off by up to 17
// of 255.
func webpLines(m *image.YCbCr) func(dst []byte, y int) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	u, v := make([]byte, w+1), make([]byte, w+1)
	return func(dst []byte, y int) {
		near, far := y/2, (y+1)/2
		if y%2 == 0 {
			far = max(0, near-1)
		} else if y == h-1 {
			far = near
		}
		upsampleLine(u, m.Cb[near*m.CStride:], m.Cb[far*m.CStride:], w)
		upsampleLine(v, m.Cr[near*m.CStride:], m.Cr[far*m.CStride:], w)
		limitedLine(dst, m.Y[y*m.YStride:], u, v)
	}
}

// upsampleLine interpolates a line of w samples from the nearer and farther line of half the
// width.
func upsampleLine(out, near, far []byte, w int) {
	at := func(i int) (n, f int) { return int(near[i]), int(far[i]) }
	n0, f0 := at(0)
	out[0] = byte((3*n0 + f0 + 2) >> 2)
	for i := 1; i <= (w-1)/2; i++ {
		n1, f1 := at(i)
		sum := n0 + n1 + f0 + f1 + 8
		out[2*i-1] = byte(((sum+2*(n1+f0))>>3 + n0) >> 1)
		out[2*i] = byte(((sum+2*(n0+f1))>>3 + n1) >> 1)
		n0, f0 = n1, f1
	}
	if w%2 == 0 {
		out[w-1] = byte((3*n0 + f0 + 2) >> 2)
	}
}

func limitedLine(dst, luma, cb, cr []byte) {
	high := func(v byte, gain int32) int32 { return int32(v) * gain >> 8 }
	for x := range len(dst) / 3 {
		y, u, v := high(luma[x], 19077), cb[x], cr[x]
		dst[3*x] = clamp((y + high(v, 26149) - 14234) >> 6)
		dst[3*x+1] = clamp((y - high(u, 6419) - high(v, 13320) + 8708) >> 6)
		dst[3*x+2] = clamp((y + high(u, 33050) - 17685) >> 6)
	}
}
