package quant

import (
	"encoding/binary"

	"patchwork/shaders/half"
)

// The values are those of dequantize_row_* in ggml-quants.c. src holds whole blocks.

func word(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

// decodeQ4_0: an F16 scale, then 32 values of 4 bits, offset by 8; the low nibbles
// of the bytes are the first 16.
func decodeQ4_0(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[32:], src[18:] {
		scale, q, y := f16[word(src)], src[2:18], dst[:32]
		for i, b := range q {
			y[i], y[i+16] = scale*float32(int(b&15)-8), scale*float32(int(b>>4)-8)
		}
	}
}

// decodeQ4_1: an F16 scale and an F16 minimum, then 32 values as in Q4_0 without an offset.
func decodeQ4_1(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[32:], src[20:] {
		scale, low, q, y := f16[word(src)], f16[word(src[2:])], src[4:20], dst[:32]
		for i, b := range q {
			y[i], y[i+16] = float32(scale*float32(b&15))+low, float32(scale*float32(b>>4))+low
		}
	}
}

// decodeQ8_0: an F16 scale, then 32 signed bytes.
func decodeQ8_0(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[32:], src[34:] {
		scale, q, y := f16[word(src)], src[2:34], dst[:32]
		for i, b := range q {
			y[i] = scale * float32(int8(b))
		}
	}
}

// decodeQ4_K: F16 scales of the scales and of the minima, eight 6-bit scales and
// eight 6-bit minima in 12 bytes, then 256 values of 4 bits: the low nibbles of
// 32 bytes are one group, the high nibbles the next.
func decodeQ4_K(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[256:], src[144:] {
		d, dmin, packed := f16[word(src)], f16[word(src[2:])], src[4:16]
		for group := range 8 {
			scale, low := scaleAndMin(packed, group)
			s, m := d*float32(scale), dmin*float32(low)
			q, y := src[16+group/2*32:][:32], dst[32*group:][:32]
			shift := 4 * (group % 2)
			for i, b := range q {
				y[i] = float32(s*float32(b>>shift&15)) - m
			}
		}
	}
}

// scaleAndMin unpacks the 6-bit scale and minimum of a group: those of the first four
// groups are the low six bits of bytes 0 to 3 and 4 to 7, whose upper two bits are the
// upper two of the other groups'.
func scaleAndMin(packed []byte, group int) (scale, low byte) {
	if group < 4 {
		return packed[group] & 63, packed[group+4] & 63
	}
	return packed[group+4]&15 | packed[group-4]>>6<<4, packed[group+4]>>4 | packed[group]>>6<<4
}

// decodeQ6_K: the low 4 bits of 256 values in 128 bytes, their upper 2 bits in 64,
// sixteen signed 8-bit scales, and an F16 scale of those. Each half of the block
// has four groups of 32 values, offset by 32.
func decodeQ6_K(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[256:], src[210:] {
		d := f16[word(src[208:])]
		for group := range 8 {
			part, in := group/4, group%4
			low, high, scales := src[64*part+32*(in%2):][:32], src[128+32*part:][:32], src[192+2*group:][:2]
			s := [2]float32{d * float32(int8(scales[0])), d * float32(int8(scales[1]))}
			y := dst[32*group:][:32]
			for i, b := range low {
				q := int(b>>(4*(in/2))&15) | int(high[i]>>(2*in)&3)<<4
				y[i] = s[i/16] * float32(q-32)
			}
		}
	}
}

// decodeQ5_0: an F16 scale, the fifth bits of 32 values, then their lower 4 bits as in Q4_0;
// offset by 16.
func decodeQ5_0(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[32:], src[22:] {
		scale, high, q, y := f16[word(src)], binary.LittleEndian.Uint32(src[2:]), src[6:22], dst[:32]
		for i, b := range q {
			low, upper := fifthBit(b&15, high, i), fifthBit(b>>4, high, i+16)
			y[i], y[i+16] = scale*float32(int(low)-16), scale*float32(int(upper)-16)
		}
	}
}

// decodeQ5_1: an F16 scale and an F16 minimum, then 32 values as in Q5_0 without an offset.
func decodeQ5_1(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[32:], src[24:] {
		scale, low, q, y := f16[word(src)], f16[word(src[2:])], src[8:24], dst[:32]
		high := binary.LittleEndian.Uint32(src[4:])
		for i, b := range q {
			y[i] = float32(scale*float32(fifthBit(b&15, high, i))) + low
			y[i+16] = float32(scale*float32(fifthBit(b>>4, high, i+16))) + low
		}
	}
}

// fifthBit adds bit i of high as the fifth bit of a nibble.
func fifthBit(nibble byte, high uint32, i int) byte { return nibble | byte(high>>i&1)<<4 }

// decodeQ5_K: as Q4_K, with the fifth bits of the values in 32 bytes before the lower 4:
// bit g of byte i is that of value i of group g.
func decodeQ5_K(dst []float32, src []byte) {
	f16 := half.Table()
	for ; len(dst) > 0; dst, src = dst[256:], src[176:] {
		d, dmin, packed, high := f16[word(src)], f16[word(src[2:])], src[4:16], src[16:48]
		for group := range 8 {
			scale, low := scaleAndMin(packed, group)
			s, m := d*float32(scale), dmin*float32(low)
			q, y := src[48+group/2*32:][:32], dst[32*group:][:32]
			shift := 4 * (group % 2)
			for i, b := range q {
				y[i] = float32(s*float32(b>>shift&15|high[i]>>group&1<<4)) - m
			}
		}
	}
}
