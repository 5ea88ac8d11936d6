package simd

// DoubleLine doubles a line horizontally with libjpeg's triangle filter (jdsample.c,
// h2v1_fancy_upsample). dst has at least two bytes for each of in.
func DoubleLine(dst, in []byte) {
	last := len(in) - 1
	dst = dst[:2*len(in)]
	dst[0], dst[2*last+1] = in[0], in[last]
	if hasAVX2 && len(in) >= 18 {
		doubleLineAVX2(&dst[2], &in[1], (len(in)-2)/16)
		if (len(in)-2)%16 != 0 { // again with the last 16
			doubleLineAVX2(&dst[2*(last-16)], &in[last-16], 1)
		}
		dst[1], dst[2*last] = byte((3*int32(in[0])+int32(in[1])+2)>>2), byte((3*int32(in[last])+int32(in[last-1])+1)>>2)
		return
	}
	doubleLine(dst, in)
}

// doubleLine writes all but the first and the last byte.
func doubleLine(dst, in []byte) {
	for x := range len(in) - 1 {
		a, b := int32(in[x]), int32(in[x+1])
		dst[2*x+1] = byte((3*a + b + 2) >> 2)
		dst[2*x+2] = byte((3*b + a + 1) >> 2)
	}
}

// DoubleLines doubles the weighted sum of a nearer and a farther line horizontally with
// libjpeg's triangle filter (jdsample.c, h2v2_fancy_upsample). dst has at least two bytes for
// each of near.
func DoubleLines(dst, near, far []byte) {
	last := len(near) - 1
	dst, far = dst[:2*len(near)], far[:len(near)]
	sum := func(x int) int32 { return 3*int32(near[x]) + int32(far[x]) }
	dst[0], dst[2*last+1] = byte((4*sum(0)+8)>>4), byte((4*sum(last)+7)>>4)
	if hasAVX2 && len(near) >= 18 {
		doubleLinesAVX2(&dst[2], &near[1], &far[1], (len(near)-2)/16)
		if (len(near)-2)%16 != 0 { // again with the last 16
			doubleLinesAVX2(&dst[2*(last-16)], &near[last-16], &far[last-16], 1)
		}
		dst[1], dst[2*last] = byte((3*sum(0)+sum(1)+7)>>4), byte((3*sum(last)+sum(last-1)+8)>>4)
		return
	}
	doubleLines(dst, near, far)
}

// doubleLines writes all but the first and the last byte.
func doubleLines(dst, near, far []byte) {
	a := 3*int32(near[0]) + int32(far[0])
	for x := range len(near) - 1 {
		b := 3*int32(near[x+1]) + int32(far[x+1])
		dst[2*x+1] = byte((3*a + b + 7) >> 4)
		dst[2*x+2] = byte((3*b + a + 8) >> 4)
		a = b
	}
}
