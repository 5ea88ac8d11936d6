package vp8

// Planes of coefficients (RFC 6386, section 13.3).
const (
	planeYAfterY2 = iota // luma without the first coefficients
	planeY2
	planeChroma
	planeY
)

// positionProbs are probabilities of the token tree by position, context and node. The last
// position is after the block.
type positionProbs [17][3][11]uint8

// tokenProbs are probabilities of each plane. Bands are replaced by the positions in them,
// which saves a lookup for each token.
type tokenProbs [4]positionProbs

// bands are the bands of positions.
var bands = [16]uint8{0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7}

// updateTokenProbs decodes a frame's probabilities (section 13.4).
func updateTokenProbs(d *boolDecoder, to *tokenProbs) {
	probs := defaultTokenProbs
	for plane := range probs {
		for band := range probs[plane] {
			for context := range probs[plane][band] {
				for node := range probs[plane][band][context] {
					if d.bool(tokenUpdateProbs[plane][band][context][node]) {
						probs[plane][band][context][node] = uint8(d.literal(8))
					}
				}
			}
		}
		for position, band := range bands {
			to[plane][position] = probs[plane][band]
		}
	}
}

// zigzag are the indices of coefficients in the order of decoding.
var zigzag = [16]uint8{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}

// coefficients decodes a block's coefficients from position n on (section 13), and multiplies
// them by f (section 14.1). It reports whether the block has tokens besides its end. This takes
// half of the time of a frame; it is one function to keep the interval in registers.
func (d *boolDecoder) coefficients(out *[16]int16, probs *positionProbs, context, n int, f factors) bool {
	v := d.interval
	if v.spare < 0 {
		v = d.fill(v)
	}
	p := &probs[n][context]
	split := v.split(p[0])
	if v.below(split) {
		d.interval = v.zero(split)
		return false
	}
	v = v.one(split)
	for {
		// The token is not the end of the block.
		if v.spare < 0 {
			v = d.fill(v)
		}
		if split = v.split(p[1]); v.below(split) {
			v = v.zero(split)
			if n++; n == 16 {
				break
			}
			p = &probs[n][0] // no end after a zero
			continue
		}
		v = v.one(split)
		factor := f.ac
		if n == 0 {
			factor = f.dc
		}
		at := zigzag[n&15]
		n++

		var x int32
		if v.spare < 0 {
			v = d.fill(v)
		}
		if split = v.split(p[2]); v.below(split) {
			v = v.zero(split)
			x, p = 1, &probs[n][1]
		} else {
			v, x = d.large(v.one(split), p)
			p = &probs[n][2]
		}
		if v.spare < 0 {
			v = d.fill(v)
		}
		var negative int32
		v, negative = v.sign()
		x = (x ^ negative) - negative
		out[at] = int16(x * factor)
		if n == 16 {
			break
		}

		if v.spare < 0 {
			v = d.fill(v)
		}
		if split = v.split(p[0]); v.below(split) {
			v = v.zero(split)
			break
		}
		v = v.one(split)
	}
	d.interval = v
	return true
}

// Extra bits of tokens for ranges of values: their probabilities, and the range's start
// (section 13.2).
var ranges = [6]struct {
	start int32
	probs []uint8
}{
	{5, []uint8{159}},
	{7, []uint8{165, 145}},
	{11, []uint8{173, 148, 140}},
	{19, []uint8{176, 155, 140, 135}},
	{35, []uint8{180, 157, 141, 134, 130}},
	{67, []uint8{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129}},
}

// large decodes the rest of a token for 2 or more, with its extra bits.
func (d *boolDecoder) large(v interval, p *[11]uint8) (interval, int32) {
	v, high := d.next(v, p[3])
	if high == 0 {
		if v, high = d.next(v, p[4]); high == 0 {
			return v, 2
		}
		v, high = d.next(v, p[5])
		return v, 3 + high
	}
	var category, bit int32
	if v, category = d.next(v, p[6]); category == 0 {
		v, category = d.next(v, p[7])
	} else {
		v, category = d.next(v, p[8])
		v, bit = d.next(v, p[9+category])
		category = 2 + 2*category + bit
	}
	r := &ranges[category]
	extra := int32(0)
	for _, prob := range r.probs {
		v, bit = d.next(v, prob)
		extra = 2*extra + bit
	}
	return v, r.start + extra
}

// next is bool for an interval in registers.
func (d *boolDecoder) next(v interval, p uint8) (interval, int32) {
	if v.spare < 0 {
		v = d.fill(v)
	}
	split := v.split(p)
	if v.below(split) {
		return v.zero(split), 0
	}
	return v.one(split), 1
}
