package vp8

import (
	"image"
	"io"
)

// A decoder decodes a frame row by row of macroblocks. A row is filtered when it is complete:
// it is predicted from samples before the loop filter, of which each plane keeps the last line
// of the row above.
type decoder struct {
	modes      *boolDecoder // the first partition
	partitions []*boolDecoder
	header     frameHeader
	probs      tokenProbs
	quantizers [segments]quantizers

	columns, rows int // in macroblocks
	y, u, v       plane
	residual      residual

	aboveModes [][4]uint8 // of subblocks, by column
	aboveCoded []coded
	leftModes  [4]uint8
	leftCoded  coded

	limits [segments][2]filterLimits // the second for subblock prediction
	edges  []macroblockFilter        // of the row, by column
}

// start allocates the planes, and computes what depends on segments.
func (d *decoder) start(width, height int) {
	d.columns, d.rows = (width+15)/16, (height+15)/16
	d.y = newPlane(16, d.columns, d.rows)
	d.u, d.v = newPlane(8, d.columns, d.rows), newPlane(8, d.columns, d.rows)
	d.aboveModes = make([][4]uint8, d.columns)
	d.aboveCoded = make([]coded, d.columns)
	d.edges = make([]macroblockFilter, d.columns)
	d.quantizers = segmentQuantizers(&d.header)
	d.limits = segmentLimits(&d.header)
}

// row decodes a row of macroblocks.
func (d *decoder) row(y int) error {
	tokens := d.partitions[y%len(d.partitions)]
	d.leftModes, d.leftCoded = [4]uint8{}, coded{}
	var m macroblock
	for x := range d.columns {
		parseMacroblock(d.modes, &d.header, &d.aboveModes[x], &d.leftModes, &m)
		above, left := &d.aboveCoded[x], &d.leftCoded
		limits, subblocks := &d.limits[m.segment][0], m.luma == predictSubblocks
		if subblocks {
			limits = &d.limits[m.segment][1]
		}
		d.edges[x] = macroblockFilter{limits, subblocks}
		if m.skipped {
			above.clear(!subblocks)
			left.clear(!subblocks)
			d.reconstruct(&m, x, y, nil)
			continue
		}
		if d.residual.decode(tokens, !subblocks, &d.probs, &d.quantizers[m.segment], above, left) {
			d.edges[x].inside = true
		}
		d.reconstruct(&m, x, y, &d.residual)
	}
	if d.modes.truncated || tokens.truncated {
		return io.ErrUnexpectedEOF
	}
	for _, p := range []*plane{&d.y, &d.u, &d.v} {
		p.keepLastLine(y)
	}
	d.filterRow(y)
	return nil
}

// reconstruct predicts the samples of a macroblock, and adds the residual, if any (RFC 6386,
// section 14.5).
func (d *decoder) reconstruct(m *macroblock, x, y int, r *residual) {
	if m.luma == predictSubblocks {
		d.reconstructSubblocks(m, x, y, r)
	} else {
		d.y.predict(m.luma, x, y)
		if r != nil {
			r.add(&d.y, x, y, 0, 4)
		}
	}
	d.u.predict(m.chroma, x, y)
	d.v.predict(m.chroma, x, y)
	if r != nil {
		r.add(&d.u, x, y, firstU, 2)
		r.add(&d.v, x, y, firstV, 2)
	}
}

// reconstructSubblocks predicts each subblock from those before it, with their residual.
func (d *decoder) reconstructSubblocks(m *macroblock, x, y int, r *residual) {
	for i, mode := range m.subblocks {
		at := d.y.predictSubblock(mode, x, y, i%4, i/4)
		if r != nil {
			r.addBlock(i, d.y.pix[at:], d.y.stride)
		}
	}
}

// image returns the planes, cropped to the frame.
func (d *decoder) image(width, height int) *image.YCbCr {
	return &image.YCbCr{
		Y: d.y.pix[border:], YStride: d.y.stride,
		Cb: d.u.pix[border:], Cr: d.v.pix[border:], CStride: d.u.stride,
		SubsampleRatio: image.YCbCrSubsampleRatio420,
		Rect:           image.Rect(0, 0, width, height),
	}
}
