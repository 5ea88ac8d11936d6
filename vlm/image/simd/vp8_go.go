package simd

// inverseVP8 is the Go form of InverseVP8.
func inverseVP8(dst []byte, stride int, coeffs *[16]int16) {
	var columns [16]int32
	for x := range 4 {
		columns[x], columns[4+x], columns[8+x], columns[12+x] = inverseDCT4(
			int32(coeffs[x]), int32(coeffs[4+x]), int32(coeffs[8+x]), int32(coeffs[12+x]))
	}
	for y := range 4 {
		c, line := columns[4*y:][:4], dst[y*stride:][:4]
		r0, r1, r2, r3 := inverseDCT4(c[0]+4, c[1], c[2], c[3])
		line[0] = clamp(int32(line[0]) + r0>>3)
		line[1] = clamp(int32(line[1]) + r1>>3)
		line[2] = clamp(int32(line[2]) + r2>>3)
		line[3] = clamp(int32(line[3]) + r3>>3)
	}
}

// inverseDCT4 inverts the transform of four coefficients (RFC 6386, section 14.4). The sine
// and the cosine of π/8, by √2, have 16 fractional bits.
func inverseDCT4(c0, c1, c2, c3 int32) (s0, s1, s2, s3 int32) {
	const sine, cosine = 35468, 65536 + 20091
	even, odd := c0+c2, c0-c2
	low := c1*sine>>16 - c3*cosine>>16
	high := c1*cosine>>16 + c3*sine>>16
	return even + high, odd + low, odd - low, even - high
}

// Simple applies the simple filter (RFC 6386, section 15.2) to an edge of 16 samples before
// index at of p. The next sample along the edge is along bytes away, the next one across it is
// across bytes away. Only the limit Edge counts.
func (f *VP8Filter) Simple(p []byte, at, along, across int) {
	for range 16 {
		s := p[at-2*across:][:3*across+1]
		at += along
		p1, p0, q0, q1 := int(s[0]), int(s[across]), int(s[2*across]), int(s[3*across])
		if edgeStep(p1, p0, q0, q1) <= f.Edge {
			before, after := adjustment(3*(q0-p0) + clampSigned(p1-q1))
			s[across], s[2*across] = clamp(int32(p0+before)), clamp(int32(q0-after))
		}
	}
}

// filter applies the normal filter (section 15.3) to eight samples of an edge, with arguments
// as Simple. inner is for edges inside of a macroblock. The samples across the edge are p3 to
// p0 before it, and q0 to q3 after it.
func (f *VP8Filter) filter(p []byte, at, along, across int, inner bool) {
	for range 8 {
		s := p[at-4*across:][:7*across+1]
		at += along
		p1, p0, q0, q1 := int(s[2*across]), int(s[3*across]), int(s[4*across]), int(s[5*across])
		if edgeStep(p1, p0, q0, q1) > f.Edge {
			continue
		}
		p3, p2, q2, q3 := int(s[0]), int(s[across]), int(s[6*across]), int(s[7*across])
		variance := max(distance(p1, p0), distance(q1, q0))
		if limit := f.Interior; variance > limit || distance(p3, p2) > limit || distance(p2, p1) > limit ||
			distance(q3, q2) > limit || distance(q2, q1) > limit {
			continue
		}
		a := 3 * (q0 - p0)
		if high := variance > f.HighVariance; high || inner {
			if high {
				a += clampSigned(p1 - q1)
			}
			before, after := adjustment(a)
			s[3*across], s[4*across] = clamp(int32(p0+before)), clamp(int32(q0-after))
			if !high {
				outer := (after + 1) >> 1
				s[2*across], s[5*across] = clamp(int32(p1+outer)), clamp(int32(q1-outer))
			}
			continue
		}
		a = clampSigned(a + clampSigned(p1-q1))
		near, middle, far := (27*a+63)>>7, (18*a+63)>>7, (9*a+63)>>7
		s[across], s[6*across] = clamp(int32(p2+far)), clamp(int32(q2-far))
		s[2*across], s[5*across] = clamp(int32(p1+middle)), clamp(int32(q1-middle))
		s[3*across], s[4*across] = clamp(int32(p0+near)), clamp(int32(q0-near))
	}
}

func distance(a, b int) int { return max(a-b, b-a) }

// edgeStep returns the step at an edge, of twice its height.
func edgeStep(p1, p0, q0, q1 int) int { return 2*distance(p0, q0) + distance(p1, q1)/2 }

// adjustment returns what brings the samples at an edge closer to each other
// ("common_adjust"), added to the one before it and subtracted from the one after it.
func adjustment(a int) (before, after int) {
	a = clampSigned(a)
	return clampSigned(a+3) >> 3, clampSigned(a+4) >> 3
}

// clampSigned clamps to a signed byte.
func clampSigned(x int) int { return min(max(x, -128), 127) }
