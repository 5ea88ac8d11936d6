package simd

// The filters of a PNG line.
const (
	filterSub = 1 + iota
	filterUp
	filterAverage
	filterPaeth
)

// Unfilter inverts a filter of PNG in place. line has the size bytes of each pixel, and above
// is the line before, or zeros. It reports whether there is such a filter.
func Unfilter(filter byte, line, above []byte, size int) bool {
	if filter > filterPaeth {
		return false
	}
	if filter == 0 {
		return true
	}
	above = above[:len(line)]
	done := 0
	if hasAVX2 {
		done = unfilterPixels(filter, line, above, size)
	}
	unfilter(filter, line, above, size, done)
	return true
}

// unfilterPixels inverts a filter up to the byte that it returns.
func unfilterPixels(filter byte, line, above []byte, size int) (done int) {
	if filter == filterUp {
		if len(line) < 32 {
			return 0
		}
		unfilterUpAVX2(&line[0], &above[0], len(line)/32)
		return len(line) &^ 31
	}
	pixels := len(line)/size - 1 // a pixel of three bytes is read with the byte after it
	if pixels < 1 || size != 3 && size != 4 {
		return 0
	}
	switch {
	case filter == filterSub && size == 3:
		unfilterSub3AVX2(&line[0], &above[0], pixels)
	case filter == filterSub:
		unfilterSub4AVX2(&line[0], &above[0], pixels)
	case filter == filterAverage && size == 3:
		unfilterAverage3AVX2(&line[0], &above[0], pixels)
	case filter == filterAverage:
		unfilterAverage4AVX2(&line[0], &above[0], pixels)
	case size == 3:
		unfilterPaeth3AVX2(&line[0], &above[0], pixels)
	default:
		unfilterPaeth4AVX2(&line[0], &above[0], pixels)
	}
	return pixels * size
}

// unfilter inverts a filter from byte from on, which is 0 or after the first pixel.
func unfilter(filter byte, line, above []byte, size, from int) {
	for i := from; i < min(size, len(line)); i++ { // to the left of the first pixel are zeros
		switch filter {
		case filterUp, filterPaeth:
			line[i] += above[i]
		case filterAverage:
			line[i] += above[i] / 2
		}
	}
	from = max(from, size)
	above = above[:len(line)]
	switch filter {
	case filterSub:
		for i := from; i < len(line); i++ {
			line[i] += line[i-size]
		}
	case filterUp:
		for i := from; i < len(line); i++ {
			line[i] += above[i]
		}
	case filterAverage:
		for i := from; i < len(line); i++ {
			line[i] += byte((int(line[i-size]) + int(above[i])) / 2)
		}
	case filterPaeth:
		for i := from; i < len(line); i++ {
			line[i] += paeth(int(line[i-size]), int(above[i]), int(above[i-size]))
		}
	}
}

// paeth returns the value that is nearest to a + b - c; among equals, the first.
func paeth(a, b, c int) byte {
	da, db, dc := b-c, a-c, a+b-2*c
	da, db, dc = max(da, -da), max(db, -db), max(dc, -dc)
	switch {
	case da <= db && da <= dc:
		return byte(a)
	case db <= dc:
		return byte(b)
	}
	return byte(c)
}
