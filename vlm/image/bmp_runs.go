package image

import (
	"image"
	"io"
)

// unpackRuns decodes run lengths of 4- or 8-bit pixels as Pillow does: pixels continue on
// the next line, except that a run of one value ends at the end of its line.
func (b *bitmap) unpackRuns(m *image.Paletted) error {
	four := b.compression == bmpRLE4
	pix, at, x, p := m.Pix, 0, 0, b.pixels
	for at < len(pix) {
		if p < 0 || p+2 > len(b.data) {
			return io.ErrUnexpectedEOF
		}
		n, v := int(b.data[p]), b.data[p+1]
		p += 2
		switch {
		case n > 0:
			n = min(n, max(0, b.w-x), len(pix)-at)
			for i := range n {
				pix[at+i] = runValue(v, i, four)
			}
			at, x = at+n, x+n
		case v == 0: // end of line
			at, x = (at+b.w-1)/b.w*b.w, 0
		case v == 1: // end of bitmap; the remaining pixels have index 0
			at = len(pix)
		case v == 2: // delta
			if p+2 > len(b.data) {
				return io.ErrUnexpectedEOF
			}
			at = min(len(pix), at+int(b.data[p])+int(b.data[p+1])*b.w)
			x = at % b.w
			p += 2
		default:
			n = min(int(v), len(pix)-at)
			size := n
			if four {
				size = (n + 1) / 2
			}
			if p+size > len(b.data) {
				return io.ErrUnexpectedEOF
			}
			for i := range n {
				if four {
					pix[at+i] = runValue(b.data[p+i/2], i, true)
				} else {
					pix[at+i] = b.data[p+i]
				}
			}
			at, x, p = at+n, x+int(v), (p+size+1)&^1
		}
	}
	if !b.topDown {
		for y := range b.h / 2 {
			upper, lower := pix[y*b.w:][:b.w], pix[(b.h-1-y)*b.w:][:b.w]
			for i := range upper {
				upper[i], lower[i] = lower[i], upper[i]
			}
		}
	}
	return nil
}

func runValue(v byte, i int, four bool) byte {
	switch {
	case !four:
		return v
	case i%2 == 0:
		return v >> 4
	}
	return v & 15
}
