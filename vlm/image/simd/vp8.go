package simd

// InverseVP8 adds the inverse transform of 4×4 coefficients (RFC 6386, section 14.4) to the
// samples of four lines, which are stride bytes apart.
func InverseVP8(dst []byte, stride int, coeffs *[16]int16) {
	if hasAVX2 {
		dst = dst[:3*stride+4]
		inverseVP8AVX2(&dst[0], stride, &coeffs[0])
		return
	}
	inverseVP8(dst, stride, coeffs)
}

// A VP8Filter is the normal loop filter of VP8 (RFC 6386, section 15.3) with its limits. Each
// method filters an edge of 16 samples: eight at index at of a and eight at index bt of b,
// before which the edge is. Lines are stride bytes apart.
type VP8Filter struct{ Edge, Interior, HighVariance int }

// OuterRows filters an edge between two rows of macroblocks.
func (f *VP8Filter) OuterRows(a, b []byte, at, bt, stride int) {
	if hasAVX2 {
		a, b = rowsOf(a, at, stride), rowsOf(b, bt, stride)
		filterRowsAVX2(&a[4*stride], &b[4*stride], stride, f.Edge, f.Interior, f.HighVariance)
		return
	}
	f.filter(a, at, 1, stride, false)
	f.filter(b, bt, 1, stride, false)
}

// InnerRows filters an edge between two rows of blocks in a macroblock.
func (f *VP8Filter) InnerRows(a, b []byte, at, bt, stride int) {
	if hasAVX2 {
		a, b = rowsOf(a, at, stride), rowsOf(b, bt, stride)
		filterInnerRowsAVX2(&a[4*stride], &b[4*stride], stride, f.Edge, f.Interior, f.HighVariance)
		return
	}
	f.filter(a, at, 1, stride, true)
	f.filter(b, bt, 1, stride, true)
}

// OuterColumns filters an edge between two columns of macroblocks.
func (f *VP8Filter) OuterColumns(a, b []byte, at, bt, stride int) {
	if hasAVX2 {
		a, b = columnsOf(a, at, stride), columnsOf(b, bt, stride)
		filterColumnsAVX2(&a[4], &b[4], stride, f.Edge, f.Interior, f.HighVariance)
		return
	}
	f.filter(a, at, stride, 1, false)
	f.filter(b, bt, stride, 1, false)
}

// InnerColumns filters an edge between two columns of blocks in a macroblock.
func (f *VP8Filter) InnerColumns(a, b []byte, at, bt, stride int) {
	if hasAVX2 {
		a, b = columnsOf(a, at, stride), columnsOf(b, bt, stride)
		filterInnerColumnsAVX2(&a[4], &b[4], stride, f.Edge, f.Interior, f.HighVariance)
		return
	}
	f.filter(a, at, stride, 1, true)
	f.filter(b, bt, stride, 1, true)
}

// rowsOf returns the four rows before and after an edge, of eight samples.
func rowsOf(p []byte, at, stride int) []byte { return p[at-4*stride : at+3*stride+8] }

// columnsOf returns the four columns before and after an edge, of eight lines.
func columnsOf(p []byte, at, stride int) []byte { return p[at-4 : at+7*stride+4] }
