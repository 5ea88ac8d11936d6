package vp8

import "patchwork/vlm/image/simd"

// coded are blocks with tokens besides their end, at an edge of a macroblock: 1 for such a
// block, else 0. They are contexts of the blocks beyond the edge (RFC 6386, section 13.3).
type coded struct {
	y    [4]uint8
	u, v [2]uint8
	y2   uint8
}

// clear sets the state after a macroblock without coefficients. That of Y2 is kept if the
// macroblock has no such block.
func (c *coded) clear(hasY2 bool) {
	y2 := c.y2
	*c = coded{}
	if !hasY2 {
		c.y2 = y2
	}
}

// Indices of chroma's blocks among those of a macroblock.
const (
	firstU = 16
	firstV = 20
)

// residual has the dequantized coefficients of a macroblock: 16 blocks of luma, four of U and
// four of V. Blocks without the bit in nonzero are zero.
type residual struct {
	blocks  [24][16]int16
	nonzero uint32
}

// decode decodes the coefficients of a macroblock (sections 13 and 14.2), with a block Y2 if
// hasY2. Blocks next to it were above and left. It reports whether there are any coefficients.
func (r *residual) decode(d *boolDecoder, hasY2 bool, p *tokenProbs, q *quantizers, above, left *coded) bool {
	r.nonzero = 0
	luma, first := &p[planeY], 0
	if hasY2 {
		luma, first = &p[planeYAfterY2], 1
		r.decodeY2(d, &p[planeY2], q.y2, above, left)
	}
	for i := range firstU {
		a, l := &above.y[i%4], &left.y[i/4]
		some := d.coefficients(&r.blocks[i], luma, int(*a+*l), first, q.y)
		r.mark(i, some, a, l)
	}
	r.decodeChroma(d, firstU, &p[planeChroma], q.uv, &above.u, &left.u)
	r.decodeChroma(d, firstV, &p[planeChroma], q.uv, &above.v, &left.v)
	return r.nonzero != 0
}

// decodeChroma decodes four blocks of U or V.
func (r *residual) decodeChroma(d *boolDecoder, first int, p *positionProbs, f factors, above, left *[2]uint8) {
	for i := range 4 {
		a, l := &above[i%2], &left[i/2]
		some := d.coefficients(&r.blocks[first+i], p, int(*a+*l), 0, f)
		r.mark(first+i, some, a, l)
	}
}

// mark records whether a block has tokens.
func (r *residual) mark(block int, some bool, above, left *uint8) {
	n := uint8(0)
	if some {
		n = 1
	}
	r.nonzero |= uint32(n) << block
	*above, *left = n, n
}

// decodeY2 decodes the block of the first coefficients of luma's blocks.
func (r *residual) decodeY2(d *boolDecoder, p *positionProbs, f factors, above, left *coded) {
	var y2 [16]int16
	if !d.coefficients(&y2, p, int(above.y2+left.y2), 0, f) {
		above.y2, left.y2 = 0, 0
		return
	}
	above.y2, left.y2 = 1, 1
	inverseWHT(&y2)
	for i, x := range y2 {
		if x != 0 {
			r.blocks[i][0] = x
			r.nonzero |= 1 << i
		}
	}
}

// add adds the inverse transform of blocks to a macroblock's samples. A line of the macroblock
// has n blocks.
func (r *residual) add(p *plane, x, y, first, n int) {
	at := p.index(x, y)
	for i := range n * n {
		r.addBlock(first+i, p.pix[at+i/n*4*p.stride+i%n*4:], p.stride)
	}
}

// addBlock adds the inverse transform of a block to samples, and clears the block.
func (r *residual) addBlock(block int, to []byte, stride int) {
	if r.nonzero>>block&1 != 0 {
		simd.InverseVP8(to, stride, &r.blocks[block])
		r.blocks[block] = [16]int16{}
	}
}

// inverseWHT inverts the Walsh-Hadamard transform (section 14.3).
func inverseWHT(c *[16]int16) {
	var rows [16]int32
	for i := range 4 {
		outer, inner := int32(c[i])+int32(c[12+i]), int32(c[4+i])+int32(c[8+i])
		outerStep, innerStep := int32(c[i])-int32(c[12+i]), int32(c[4+i])-int32(c[8+i])
		rows[i], rows[4+i] = outer+inner, outerStep+innerStep
		rows[8+i], rows[12+i] = outer-inner, outerStep-innerStep
	}
	for i := 0; i < 16; i += 4 {
		r := rows[i:][:4]
		outer, inner := r[0]+r[3]+3, r[1]+r[2]
		outerStep, innerStep := r[0]-r[3]+3, r[1]-r[2]
		c[i], c[i+1] = int16((outer+inner)>>3), int16((outerStep+innerStep)>>3)
		c[i+2], c[i+3] = int16((outer-inner)>>3), int16((outerStep-innerStep)>>3)
	}
}
