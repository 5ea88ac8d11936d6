package image

import "patchwork/vlm/image/simd"

// An upsampler returns the lines of a plane at full resolution, as libjpeg does: chroma of
// half the size with a triangle filter ("fancy upsampling"), other sizes by repetition
// (libjpeg-turbo, jdsample.c).
type upsampler struct {
	plane   []byte
	stride  int
	w, rows int // of the plane
	across  int // output samples per plane sample
	down    int
	repeat  bool
	line    []byte
}

func newUpsampler(c *jpegComponent, maxH, maxV int, repeat bool) *upsampler {
	u := &upsampler{repeat: repeat, plane: c.plane, stride: 8 * c.bw, w: c.w, rows: c.rows, across: maxH / c.h, down: maxV / c.v}
	if u.across > 1 || u.down > 1 {
		u.line = make([]byte, u.w*u.across+1)
	}
	return u
}

// triangles reports whether the triangle filter is used.
func (u *upsampler) triangles() bool {
	switch {
	case u.repeat:
		return false
	case u.across == 2 && u.down <= 2:
		return u.w > 2
	case u.across == 1:
		return u.down == 2
	}
	return false
}

func (u *upsampler) row(y int) []byte { return u.plane[y*u.stride:][:u.w] }

// at returns line y of the output.
func (u *upsampler) at(y int) []byte {
	own := u.row(y / u.down)
	switch {
	case u.across == 1 && u.down == 1:
		return own
	case !u.triangles():
		if u.across == 1 {
			return own
		}
		for x, v := range own {
			for i := range u.across {
				u.line[x*u.across+i] = v
			}
		}
	case u.down == 1:
		simd.DoubleLine(u.line, own)
	case u.across == 1:
		other, bias := u.adjacentRow(y)
		for x, v := range own {
			u.line[x] = byte((3*int32(v) + int32(other[x]) + bias) >> 2)
		}
	default:
		other, _ := u.adjacentRow(y)
		simd.DoubleLines(u.line, own, other)
	}
	return u.line
}

// adjacentRow returns the second nearest line to output line y, and the rounding bias.
func (u *upsampler) adjacentRow(y int) ([]byte, int32) {
	if y%2 == 0 {
		return u.row(max(0, y/2-1)), 1
	}
	return u.row(min(u.rows-1, y/2+1)), 2
}

// colours is the colour model of an image's planes.
type colours int

const (
	gray colours = iota
	rgb
	ycc
	cmyk
	ycck
	inverted // CMYK with inverted values, as Adobe writes it
	rawCMYK  // CMYK that is not converted, four bytes per pixel
)

// colours follows libjpeg's default_decompress_parms, and Pillow in assuming that four
// components are always inverted.
func (d *jpegDecoder) colours() colours {
	switch {
	case len(d.comps) == 1:
		return gray
	case len(d.comps) == 4 && d.adobe > 0:
		return ycck
	case len(d.comps) == 4:
		return inverted
	case d.jfif:
		return ycc
	case d.adobe == 0:
		return rgb
	case d.adobe < 0 && d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B':
		return rgb
	}
	return ycc
}

// lines returns a function that reads the image line by line, as RGB or, with rawCMYK, as
// CMYK.
func (d *jpegDecoder) lines(as colours) func(dst []byte, y int) {
	up := make([]*upsampler, len(d.comps))
	for i := range up {
		up[i] = newUpsampler(&d.comps[i], d.maxH, d.maxV, d.repeat)
	}
	inks := make([]byte, 4*d.w)
	return func(dst []byte, y int) {
		switch as {
		case gray:
			grayLine(dst, up[0].at(y), 1)
		case rgb:
			r, g, b := up[0].at(y), up[1].at(y), up[2].at(y)
			for x := range d.w {
				dst[3*x], dst[3*x+1], dst[3*x+2] = r[x], g[x], b[x]
			}
		case ycc:
			simd.FullRange(dst, up[0].at(y)[:d.w], up[1].at(y), up[2].at(y))
		case rawCMYK:
			d.inks(dst, up, y, as)
		default:
			d.inks(inks, up, y, as)
			cmykLine(dst, inks)
		}
	}
}

// inks reads a line of CMYK.
func (d *jpegDecoder) inks(dst []byte, up []*upsampler, y int, as colours) {
	planes := [4][]byte{up[0].at(y), up[1].at(y), up[2].at(y), up[3].at(y)}
	if as == ycck {
		line := make([]byte, 3*d.w)
		simd.FullRange(line, planes[0][:d.w], planes[1], planes[2])
		for x := range d.w { // YCC converts to inverted CMY, which Adobe stores inverted again
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = line[3*x], line[3*x+1], line[3*x+2], 255-planes[3][x]
		}
		return
	}
	flip := byte(0)
	if as == inverted {
		flip = 255
	}
	for x := range d.w {
		for k := range 4 {
			dst[4*x+k] = planes[k][x] ^ flip
		}
	}
}
