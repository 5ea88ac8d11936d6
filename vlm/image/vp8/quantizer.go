package vp8

// factors are those of a block's first coefficient and of the others (RFC 6386, section 14.1).
type factors struct{ dc, ac int32 }

// quantizers are the factors of luma, of its first coefficients, and of chroma.
type quantizers struct{ y, y2, uv factors }

// newQuantizers returns the factors for a base index and the frame's differences to it.
func newQuantizers(base int, q quantIndices) (f quantizers) {
	const last = len(dcQuantizers) - 1
	index := func(delta int) int { return min(max(base+delta, 0), last) }
	f.y.dc = int32(dcQuantizers[index(q.yDC)])
	f.y.ac = int32(acQuantizers[index(0)])
	f.y2.dc = 2 * int32(dcQuantizers[index(q.y2DC)])
	f.y2.ac = max(8, int32(acQuantizers[index(q.y2AC)])*155/100)
	f.uv.dc = min(132, int32(dcQuantizers[index(q.uvDC)]))
	f.uv.ac = int32(acQuantizers[index(q.uvAC)])
	return f
}

// segmentQuantizers returns the factors of each segment (section 9.3).
func segmentQuantizers(h *frameHeader) (all [segments]quantizers) {
	for i := range all {
		base := h.quant.yAC
		switch {
		case h.enabled && h.absolute:
			base = h.segmentation.quantizer[i]
		case h.enabled:
			base += h.segmentation.quantizer[i]
		}
		all[i] = newQuantizers(base, h.quant)
	}
	return all
}

// dcQuantizers are the factors of first coefficients by index (section 14.1).
var dcQuantizers = [128]uint8{
	4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15, 16, 17, 17,
	18, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 25, 25, 26, 27, 28,
	29, 30, 31, 32, 33, 34, 35, 36, 37, 37, 38, 39, 40, 41, 42, 43,
	44, 45, 46, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
	59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74,
	75, 76, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89,
	91, 93, 95, 96, 98, 100, 101, 102, 104, 106, 108, 110, 112, 114, 116, 118,
	122, 124, 126, 128, 130, 132, 134, 136, 138, 140, 143, 145, 148, 151, 154, 157,
}

// acQuantizers are the factors of the other coefficients.
var acQuantizers = [128]uint16{
	4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
	20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
	36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
	52, 53, 54, 55, 56, 57, 58, 60, 62, 64, 66, 68, 70, 72, 74, 76,
	78, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108,
	110, 112, 114, 116, 119, 122, 125, 128, 131, 134, 137, 140, 143, 146, 149, 152,
	155, 158, 161, 164, 167, 170, 173, 177, 181, 185, 189, 193, 197, 201, 205, 209,
	213, 217, 221, 225, 229, 234, 239, 245, 249, 254, 259, 264, 269, 274, 279, 284,
}
