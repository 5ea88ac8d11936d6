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
		r0, r1, r2, r3 := inverseDCT4(c[0], c[1], c[2], c[3])
		for x, r := range [4]int32{r0, r1, r2, r3} {
			line[x] = clamp(int32(line[x]) + (r+4)>>3)
		}
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
		s := segment{p, at, across}
		if s.edge() <= f.Edge {
			s.adjust(true)
		}
		at += along
	}
}

// filter applies the normal filter (section 15.3) to eight samples of an edge, with arguments
// as Simple. inner is for edges inside of a macroblock.
func (f *VP8Filter) filter(p []byte, at, along, across int, inner bool) {
	for range 8 {
		s := segment{p, at, across}
		at += along
		if s.edge() > f.Edge || s.interior() > f.Interior {
			continue
		}
		switch high := s.variance() > f.HighVariance; {
		case high:
			s.adjust(true)
		case inner:
			step := (s.adjust(false) + 1) >> 1
			s.move(1, step)
		default:
			w := clampSigned(clampSigned(s.get(-2)-s.get(1)) + 3*(s.get(0)-s.get(-1)))
			s.move(0, (27*w+63)>>7)
			s.move(1, (18*w+63)>>7)
			s.move(2, (9*w+63)>>7)
		}
	}
}

// A segment are the samples across an edge: from -4 to -1 before it, from 0 to 3 after it.
type segment struct {
	p          []byte
	at, across int
}

func (s *segment) get(i int) int { return int(s.p[s.at+i*s.across]) }

// step returns the difference of two samples.
func (s *segment) step(i, j int) int {
	d := s.get(i) - s.get(j)
	return max(d, -d)
}

// edge returns the step at the edge, of twice its height.
func (s *segment) edge() int { return 2*s.step(-1, 0) + s.step(-2, 1)/2 }

// interior returns the greatest difference of neighbours on a side of the edge.
func (s *segment) interior() int {
	return max(s.step(-4, -3), s.step(-3, -2), s.step(3, 2), s.step(2, 1), s.variance())
}

// variance returns the greater difference of the two samples next to the edge on a side.
func (s *segment) variance() int { return max(s.step(-2, -1), s.step(1, 0)) }

// adjust brings the samples at the edge closer to each other ("common_adjust"), and returns
// what it subtracts from the one after the edge.
func (s *segment) adjust(outer bool) int {
	a := 3 * (s.get(0) - s.get(-1))
	if outer {
		a += clampSigned(s.get(-2) - s.get(1))
	}
	a = clampSigned(a)
	before, after := clampSigned(a+3)>>3, clampSigned(a+4)>>3
	s.add(-1, before)
	s.add(0, -after)
	return after
}

// move brings the samples i steps from the edge closer to each other.
func (s *segment) move(i, by int) {
	s.add(-1-i, by)
	s.add(i, -by)
}

func (s *segment) add(i, by int) { s.p[s.at+i*s.across] = clamp(int32(s.get(i) + by)) }

// clampSigned clamps to a signed byte.
func clampSigned(x int) int { return min(max(x, -128), 127) }
