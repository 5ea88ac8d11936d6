package simd

import "encoding/binary"

// Constants of libjpeg's inverse DCT ("islow": Loeffler, Ligtenberg and Moschytz, 13
// fractional bits). Results are bit for bit those of Pillow and browsers.
const (
	dctBits  = 13
	passBits = 2 // kept between the passes

	dct0_298 = 2446
	dct0_390 = 3196
	dct0_541 = 4433
	dct0_765 = 6270
	dct0_899 = 7373
	dct1_175 = 9633
	dct1_501 = 12299
	dct1_847 = 15137
	dct1_961 = 16069
	dct2_053 = 16819
	dct2_562 = 20995
	dct3_072 = 25172
)

// InverseDCT writes the 8×8 samples of the quantised coefficients c, in natural order, with
// quantisation table q, to dst, whose lines are stride bytes apart.
func InverseDCT(dst []byte, stride int, c *[64]int16, q *[64]int32) {
	if hasAVX2 {
		_ = dst[7*stride+7]
		if inverseDCTAVX2(&dst[0], stride, &c[0], &q[0]) {
			return
		}
	}
	inverseDCT(dst, stride, c, q)
}

// FlatBlock writes the samples of a block whose only coefficient that is not 0 is dc.
func FlatBlock(dst []byte, stride int, dc int16, q *[64]int32) {
	w := int32(dc) * q[0] << passBits
	v := clamp((w<<dctBits + secondHalf) >> secondShift)
	row := uint64(v) * 0x0101010101010101
	for y := range 8 {
		binary.NativeEndian.PutUint64(dst[y*stride:], row)
	}
}

const (
	secondShift = dctBits + passBits + 3
	secondHalf  = 1<<(secondShift-1) + 128<<secondShift // 128 is the level shift
)

func inverseDCT(dst []byte, stride int, c *[64]int16, q *[64]int32) {
	var work [64]int32
	for x := range 8 {
		dc := int32(c[x]) * q[x]
		if c[8+x]|c[16+x]|c[24+x]|c[32+x]|c[40+x]|c[48+x]|c[56+x] == 0 {
			dc <<= passBits
			for y := 0; y < 64; y += 8 {
				work[y+x] = dc
			}
			continue
		}
		const shift, half = dctBits - passBits, 1 << (dctBits - passBits - 1)
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(dc, int32(c[8+x])*q[8+x], int32(c[16+x])*q[16+x], int32(c[24+x])*q[24+x],
			int32(c[32+x])*q[32+x], int32(c[40+x])*q[40+x], int32(c[48+x])*q[48+x], int32(c[56+x])*q[56+x], half)
		work[x], work[56+x] = (e0+o3)>>shift, (e0-o3)>>shift
		work[8+x], work[48+x] = (e1+o2)>>shift, (e1-o2)>>shift
		work[16+x], work[40+x] = (e2+o1)>>shift, (e2-o1)>>shift
		work[24+x], work[32+x] = (e3+o0)>>shift, (e3-o0)>>shift
	}
	for y := range 8 {
		w := (*[8]int32)(work[8*y:])
		out := (*[8]byte)(dst[y*stride:])
		const shift, half = secondShift, secondHalf
		if w[1]|w[2]|w[3]|w[4]|w[5]|w[6]|w[7] == 0 {
			v := clamp((w[0]<<dctBits + half) >> shift)
			*out = [8]byte{v, v, v, v, v, v, v, v}
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], half)
		out[0], out[7] = clamp((e0+o3)>>shift), clamp((e0-o3)>>shift)
		out[1], out[6] = clamp((e1+o2)>>shift), clamp((e1-o2)>>shift)
		out[2], out[5] = clamp((e2+o1)>>shift), clamp((e2-o1)>>shift)
		out[3], out[4] = clamp((e3+o0)>>shift), clamp((e3-o0)>>shift)
	}
}

// butterfly transforms one line, scaled by 2^dctBits and with half added for rounding:
// output i is e[i] + o[3-i], output 7-i is e[i] - o[3-i].
func butterfly(c0, c1, c2, c3, c4, c5, c6, c7, half int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z1 := (c2 + c6) * dct0_541
	t2, t3 := z1-c6*dct1_847, z1+c2*dct0_765
	t0, t1 := (c0+c4)<<dctBits+half, (c0-c4)<<dctBits+half
	e0, e3, e1, e2 = t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := c7+c1, c5+c3, c7+c3, c5+c1
	z5 := (z3 + z4) * dct1_175
	z1, z2 = -z1*dct0_899, -z2*dct2_562
	z3, z4 = z5-z3*dct1_961, z5-z4*dct0_390
	o0 = c7*dct0_298 + z1 + z3
	o1 = c5*dct2_053 + z2 + z4
	o2 = c3*dct3_072 + z2 + z3
	o3 = c1*dct1_501 + z1 + z4
	return e0, e1, e2, e3, o0, o1, o2, o3
}
