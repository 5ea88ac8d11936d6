// Copyright 2011 The Go Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package simd

// inverseVP8 is the Go form of InverseVP8.
func inverseVP8(dst *[4][VP8Stride]byte, x int, coeffs *[16]int16) {
	const (
		c1 = 85627 // 65536 * cos(pi/8) * sqrt(2).
		c2 = 35468 // 65536 * sin(pi/8) * sqrt(2).
	)
	var m [4][4]int32
	for i := range 4 {
		c0, c4, c8, c12 := int32(coeffs[i]), int32(coeffs[4+i]), int32(coeffs[8+i]), int32(coeffs[12+i])
		a := c0 + c8
		b := c0 - c8
		c := (c4*c2)>>16 - (c12*c1)>>16
		d := (c4*c1)>>16 + (c12*c2)>>16
		m[i] = [4]int32{a + d, b + c, b - c, a - d}
	}
	for j := range 4 {
		dc := m[0][j] + 4
		a := dc + m[2][j]
		b := dc - m[2][j]
		c := (m[1][j]*c2)>>16 - (m[3][j]*c1)>>16
		d := (m[1][j]*c1)>>16 + (m[3][j]*c2)>>16
		line := dst[j][x:][:4]
		line[0] = clamp(int32(line[0]) + (a+d)>>3)
		line[1] = clamp(int32(line[1]) + (b+c)>>3)
		line[2] = clamp(int32(line[2]) + (b-c)>>3)
		line[3] = clamp(int32(line[3]) + (a-d)>>3)
	}
}

func distance(a, b int) int { return max(a-b, b-a) }

// clampTo returns x from -high-1 to high.
func clampTo(high, x int) int { return min(max(x, -high-1), high) }

// filter modifies a 2-, 4- or 6-pixel wide or high band along an edge.
func (f *VP8Filter) filter(pix []byte, index, iStep, jStep int, fourNotSix bool) {
	level, ilevel, hlevel := f.Level, f.Inner, f.HighVariance
	for n := 8; n > 0; n, index = n-1, index+iStep {
		p3 := int(pix[index-4*jStep])
		p2 := int(pix[index-3*jStep])
		p1 := int(pix[index-2*jStep])
		p0 := int(pix[index-1*jStep])
		q0 := int(pix[index+0*jStep])
		q1 := int(pix[index+1*jStep])
		q2 := int(pix[index+2*jStep])
		q3 := int(pix[index+3*jStep])
		if distance(p0, q0)<<1+distance(p1, q1)>>1 > level {
			continue
		}
		if distance(p3, p2) > ilevel ||
			distance(p2, p1) > ilevel ||
			distance(p1, p0) > ilevel ||
			distance(q1, q0) > ilevel ||
			distance(q2, q1) > ilevel ||
			distance(q3, q2) > ilevel {
			continue
		}
		if distance(p1, p0) > hlevel || distance(q1, q0) > hlevel {
			// Filter 2 pixels.
			a := 3*(q0-p0) + clampTo(127, p1-q1)
			a1 := clampTo(15, (a+4)>>3)
			a2 := clampTo(15, (a+3)>>3)
			pix[index-1*jStep] = clamp(int32(p0 + a2))
			pix[index+0*jStep] = clamp(int32(q0 - a1))
		} else if fourNotSix {
			// Filter 4 pixels.
			a := 3 * (q0 - p0)
			a1 := clampTo(15, (a+4)>>3)
			a2 := clampTo(15, (a+3)>>3)
			a3 := (a1 + 1) >> 1
			pix[index-2*jStep] = clamp(int32(p1 + a3))
			pix[index-1*jStep] = clamp(int32(p0 + a2))
			pix[index+0*jStep] = clamp(int32(q0 - a1))
			pix[index+1*jStep] = clamp(int32(q1 - a3))
		} else {
			// Filter 6 pixels.
			a := clampTo(127, 3*(q0-p0)+clampTo(127, p1-q1))
			a1 := (27*a + 63) >> 7
			a2 := (18*a + 63) >> 7
			a3 := (9*a + 63) >> 7
			pix[index-3*jStep] = clamp(int32(p2 + a3))
			pix[index-2*jStep] = clamp(int32(p1 + a2))
			pix[index-1*jStep] = clamp(int32(p0 + a1))
			pix[index+0*jStep] = clamp(int32(q0 - a1))
			pix[index+1*jStep] = clamp(int32(q1 - a2))
			pix[index+2*jStep] = clamp(int32(q2 - a3))
		}
	}
}
