package vp8

import "patchwork/vlm/image/simd"

// filterLimits are the limits of the loop filter (RFC 6386, section 15.4) at the edges of a
// macroblock and at those inside.
type filterLimits struct {
	skipped      bool
	outer, inner simd.VP8Filter
}

// A macroblockFilter is how to filter a macroblock.
type macroblockFilter struct {
	*filterLimits
	inside bool // edges inside of the macroblock too
}

// segmentLimits returns the limits of each segment, without and with subblock prediction.
func segmentLimits(h *frameHeader) (all [segments][2]filterLimits) {
	for i := range all {
		level := h.filter.level
		switch {
		case h.enabled && h.absolute:
			level = h.filterLevel[i]
		case h.enabled:
			level += h.filterLevel[i]
		}
		level += h.filter.intraDelta
		all[i][0] = newFilterLimits(level, h.filter.sharpness)
		all[i][1] = newFilterLimits(level+h.filter.subblockDelta, h.filter.sharpness)
	}
	return all
}

func newFilterLimits(level, sharpness int) filterLimits {
	level = min(max(level, 0), 63)
	interior := level
	if sharpness > 0 {
		interior >>= 1
		if sharpness > 4 {
			interior >>= 1
		}
		interior = min(interior, 9-sharpness)
	}
	interior = max(interior, 1)
	variance := 0
	switch {
	case level >= 40:
		variance = 2
	case level >= 15:
		variance = 1
	}
	return filterLimits{
		skipped: level == 0,
		outer:   simd.VP8Filter{Edge: 2*(level+2) + interior, Interior: interior, HighVariance: variance},
		inner:   simd.VP8Filter{Edge: 2*level + interior, Interior: interior, HighVariance: variance},
	}
}

// filterRow filters a row of macroblocks (section 15.1). It changes up to three lines of the
// row above.
func (d *decoder) filterRow(y int) {
	if d.header.filter.level == 0 {
		return
	}
	for x := range d.edges {
		switch f := &d.edges[x]; {
		case f.skipped:
		case d.header.filter.simple:
			d.filterSimple(f, x, y)
		default:
			d.filterLuma(f, x, y)
			d.filterChroma(f, x, y)
		}
	}
}

// filterLuma applies the normal filter to luma (section 15.3). Half of an edge is filtered
// with the other half.
func (d *decoder) filterLuma(f *macroblockFilter, x, y int) {
	pix, stride, at := d.y.pix, d.y.stride, d.y.index(x, y)
	if x > 0 {
		f.outer.OuterColumns(pix, pix, at, at+8*stride, stride)
	}
	if f.inside {
		for i := 4; i < 16; i += 4 {
			f.inner.InnerColumns(pix, pix, at+i, at+i+8*stride, stride)
		}
	}
	if y > 0 {
		f.outer.OuterRows(pix, pix, at, at+8, stride)
	}
	if f.inside {
		for i := 4 * stride; i < 16*stride; i += 4 * stride {
			f.inner.InnerRows(pix, pix, at+i, at+i+8, stride)
		}
	}
}

// filterChroma applies the normal filter to both chroma planes.
func (d *decoder) filterChroma(f *macroblockFilter, x, y int) {
	u, v, stride, at := d.u.pix, d.v.pix, d.u.stride, d.u.index(x, y)
	if x > 0 {
		f.outer.OuterColumns(u, v, at, at, stride)
	}
	if f.inside {
		f.inner.InnerColumns(u, v, at+4, at+4, stride)
	}
	if y > 0 {
		f.outer.OuterRows(u, v, at, at, stride)
	}
	if f.inside {
		f.inner.InnerRows(u, v, at+4*stride, at+4*stride, stride)
	}
}

// filterSimple applies the simple filter, which is for luma only (section 15.2).
func (d *decoder) filterSimple(f *macroblockFilter, x, y int) {
	pix, stride, at := d.y.pix, d.y.stride, d.y.index(x, y)
	if x > 0 {
		f.outer.Simple(pix, at, stride, 1)
	}
	if f.inside {
		for i := 4; i < 16; i += 4 {
			f.inner.Simple(pix, at+i, stride, 1)
		}
	}
	if y > 0 {
		f.outer.Simple(pix, at, 1, stride)
	}
	if f.inside {
		for i := 4; i < 16; i += 4 {
			f.inner.Simple(pix, at+i*stride, 1, stride)
		}
	}
}
