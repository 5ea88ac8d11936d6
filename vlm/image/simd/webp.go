package simd

// UpsampleWebP interpolates a line of chroma from the nearer and the farther line of half the
// width, rounded up, as libwebp does ("fancy upsampling", src/dsp/upsampling.c).
func UpsampleWebP(dst, near, far []byte) {
	half := (len(dst) + 1) / 2
	near, far = near[:half], far[:half]
	dst[0] = outer(near[0], far[0])
	if len(dst)%2 == 0 {
		dst[len(dst)-1] = outer(near[half-1], far[half-1])
	}
	if pairs := half - 1; hasAVX2 && pairs >= 16 {
		upsampleAVX2(&dst[1], &near[0], &far[0], pairs/16)
		if pairs%16 != 0 { // again with the last 16
			from := pairs - 16
			upsampleAVX2(&dst[1+2*from], &near[from], &far[from], 1)
		}
		return
	}
	upsample(dst, near, far)
}

// outer interpolates at the ends of a line.
func outer(near, far byte) byte { return byte((3*int(near) + int(far) + 2) >> 2) }

// upsample writes the samples between the ends.
func upsample(dst, near, far []byte) {
	for i := range len(near) - 1 {
		n0, n1, f0, f1 := int(near[i]), int(near[i+1]), int(far[i]), int(far[i+1])
		sum := n0 + n1 + f0 + f1 + 8
		dst[2*i+1] = byte(((sum+2*(n1+f0))>>3 + n0) >> 1)
		dst[2*i+2] = byte(((sum+2*(n0+f1))>>3 + n1) >> 1)
	}
}

// LimitedRange converts YCbCr (ITU-R BT.601 with luma 16 to 235) to RGB, in libwebp's fixed
// point (src/dsp/yuv.h). dst has three bytes for each of luma, cb and cr.
func LimitedRange(dst, luma, cb, cr []byte) {
	n := len(luma)
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	if !hasAVX2 || n < 16 {
		limitedRange(dst, luma, cb, cr)
		return
	}
	limitedRangeAVX2(&dst[0], &luma[0], &cb[0], &cr[0], n/16)
	if n%16 != 0 { // again with the last 16
		last := n - 16
		limitedRangeAVX2(&dst[3*last], &luma[last], &cb[last], &cr[last], 1)
	}
}

func limitedRange(dst, luma, cb, cr []byte) {
	high := func(v byte, gain int32) int32 { return int32(v) * gain >> 8 }
	for x := range luma {
		y, u, v := high(luma[x], 19077), cb[x], cr[x]
		dst[3*x] = clamp((y + high(v, 26149) - 14234) >> 6)
		dst[3*x+1] = clamp((y - high(u, 6419) - high(v, 13320) + 8708) >> 6)
		dst[3*x+2] = clamp((y + high(u, 33050) - 17685) >> 6)
	}
}
