package main

import "patchwork/tools/simdgen/arm64"

// neonUnpacker generates the unpacking of 32 values of a block format to signed bytes of two vectors.
type neonUnpacker struct {
	*arm64.Function
	blockFormat
	held map[string]*arm64.V // constants in registers
}

// constant returns a vector that keeps 16 bytes, or one byte in every lane, over the function.
func (u *neonUnpacker) constant(values ...byte) *arm64.V {
	v := u.held[string(values)]
	if v == nil {
		panic("constant was not loaded") // a bug of the generator
	}
	return v
}

// hold loads the constants that a format needs, before a loop.
func (u *neonUnpacker) hold() {
	u.held = map[string]*arm64.V{}
	for _, values := range u.needed() {
		v := u.Pinned()
		u.Bytes(v, values...)
		u.held[string(values)] = v
	}
}

// Bytes of a word, each for eight values, and the bits of these.
var (
	firstBytes  = []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}
	secondBytes = []byte{2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}
	eachBit     = []byte{1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128}
)

func (u *neonUnpacker) needed() [][]byte {
	switch u.blockFormat {
	case q8_0:
		return nil
	case q4_0:
		return [][]byte{{15}, {8}}
	case q5_0, q5_1:
		return [][]byte{{15}, {16}, firstBytes, secondBytes, eachBit}
	case q5_K:
		return [][]byte{{15}, {16}}
	case q6_K:
		return [][]byte{{15}, {0x30}, {32}}
	}
	return [][]byte{{15}}
}

// small unpacks a block of 32 values at b + offset.
func (u *neonUnpacker) small(b arm64.R, offset int) (v [2]*arm64.V) {
	v = [2]*arm64.V{u.Vec(), u.Vec()}
	if u.blockFormat == q8_0 {
		u.Load(arm64.Four, v[0], b, offset+2)
		u.Load(arm64.Four, v[1], b, offset+18)
		return v
	}
	q := u.Vec()
	u.Load(arm64.Four, q, b, offset+u.size-16)
	u.AND(v[0], q, u.constant(15))
	u.USHRB(v[1], q, 4)
	switch u.blockFormat {
	case q4_0:
		for _, x := range v {
			u.SUBB(x, x, u.constant(8))
		}
	case q5_0, q5_1:
		u.fifthBits(b, offset+u.size-20, v)
	}
	return v
}

// fifthBits adds 16 where a bit of the word at b + offset is set. With an offset of 16, which is to be
// subtracted, that is done where it is not set.
func (u *neonUnpacker) fifthBits(b arm64.R, offset int, v [2]*arm64.V) {
	bits := u.Vec()
	u.Load(arm64.One, bits, b, offset)
	for i, bytes := range [][]byte{firstBytes, secondBytes} {
		t := u.Vec()
		u.TBL(t, bits, u.constant(bytes...))
		u.CMTSTB(t, t, u.constant(eachBit...))
		if u.blockFormat == q5_0 {
			u.BIC(t, u.constant(16), t)
			u.SUBB(v[i], v[i], t)
			continue
		}
		u.AND(t, t, u.constant(16))
		u.ORR(v[i], v[i], t)
	}
}

// neonQuants are the vectors of a block of 256 that several groups share.
type neonQuants struct{ low, high [2]*arm64.V }

// group unpacks group g of the block of 256 values at b. Groups are unpacked in order.
func (u *neonUnpacker) group(b arm64.R, g int, q *neonQuants) (v [2]*arm64.V) {
	part, in := g/4, g%4
	low, highNibbles, high, left := 16+g/2*32, g%2 == 1, -1, 0
	switch u.blockFormat {
	case q5_K:
		low += 32
		left = 4 - g
		if g == 0 {
			high = 16
		}
	case q6_K:
		low, highNibbles, left = 64*part+32*(in%2), in/2 == 1, 4-2*in
		if in == 0 {
			high = 128 + 32*part
		}
	}
	for i := range v {
		if high >= 0 {
			q.high[i] = u.Vec()
			u.Load(arm64.Four, q.high[i], b, high+16*i)
		}
		v[i] = u.Vec()
		if u.blockFormat == q6_K || !highNibbles {
			q.low[i] = u.Vec()
			u.Load(arm64.Four, q.low[i], b, low+16*i)
		}
		if highNibbles {
			u.USHRB(v[i], q.low[i], 4)
		} else {
			u.AND(v[i], q.low[i], u.constant(15))
		}
		switch u.blockFormat {
		case q5_K:
			u.ORR(v[i], v[i], u.upperBits(q.high[i], left, u.constant(16)))
		case q6_K:
			u.ORR(v[i], v[i], u.upperBits(q.high[i], left, u.constant(0x30)))
			u.SUBB(v[i], v[i], u.constant(32))
		}
	}
	return v
}

// upperBits shifts bytes left, or right by minus that, and keeps some bits.
func (u *neonUnpacker) upperBits(x *arm64.V, left int, mask *arm64.V) *arm64.V {
	t := u.Vec()
	switch {
	case left > 0:
		u.SHLB(t, x, left)
		u.AND(t, t, mask)
	case left < 0:
		u.USHRB(t, x, -left)
		u.AND(t, t, mask)
	default:
		u.AND(t, x, mask)
	}
	return t
}

// noByte is an index without a byte.
const noByte = 255

// scalesAndMins unpacks the 6-bit scales and minima of Q4_K and Q5_K to bytes: eight scales, then
// eight minima; see scaleAndMin in shaders/quant. both are the block's scale and minimum, which
// multiply them.
func (u *neonUnpacker) scalesAndMins(b arm64.R) (all, both *arm64.V) {
	header, shifts, masks, index := u.Vec(), u.Vec(), u.Vec(), u.Vec()
	u.Load(arm64.Four, header, b, 0)
	all, both = u.Vec(), u.Vec()
	u.FCVTL(both, header)
	u.Bytes(index, 4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)
	u.TBL(all, header, index)
	u.Bytes(shifts, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfc, 0xfc, 0xfc, 0xfc)
	u.USHLB(all, all, shifts)
	u.Bytes(masks, 63, 63, 63, 63, 15, 15, 15, 15, 63, 63, 63, 63, 15, 15, 15, 15)
	u.AND(all, all, masks)
	upper, place, bits := u.Vec(), u.Vec(), u.Vec()
	u.Bytes(place, noByte, noByte, noByte, noByte, 4, 5, 6, 7, noByte, noByte, noByte, noByte, 8, 9, 10, 11)
	u.TBL(upper, header, place)
	u.USHRB(upper, upper, 2)
	u.Bytes(bits, 0x30)
	u.AND(upper, upper, bits)
	u.ORR(all, all, upper)
	return all, both
}

// floats widens sixteen signed bytes.
func (u *neonUnpacker) floats(bytes *arm64.V) (x [4]*arm64.V) {
	low, high := u.Vec(), u.Vec()
	u.SXTLB(low, bytes)
	u.SXTL2B(high, bytes)
	for i, half := range []*arm64.V{low, high} {
		x[2*i], x[2*i+1] = u.Vec(), u.Vec()
		u.SXTLH(x[2*i], half)
		u.SXTL2H(x[2*i+1], half)
		u.SCVTF(x[2*i], x[2*i])
		u.SCVTF(x[2*i+1], x[2*i+1])
	}
	return x
}
