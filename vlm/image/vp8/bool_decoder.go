package vp8

import (
	"encoding/binary"
	"math/bits"
)

// A boolDecoder decodes bools from a partition (RFC 6386, section 7). Reading past the end
// yields zeros and sets truncated.
type boolDecoder struct {
	interval
	data      []byte // not yet in the interval
	truncated bool
}

// An interval is the state of the arithmetic decoder (section 7.3). It is passed by value, so
// that loops keep it in registers: decode reads a bool of probability p by
//
//	if v.spare < 0 {
//		v = d.fill(v)
//	}
//	if split := v.split(p); v.below(split) {
//		v = v.zero(split) // the bool is 0
//	} else {
//		v = v.one(split) // the bool is 1
//	}
type interval struct {
	value uint64 // the code less the interval's start; its first byte is compared
	width uint64 // RFC 6386's range: 128 to 255
	spare int    // bits known in value after the first byte; below 0, fill is due
}

// newBoolDecoder starts to decode a partition. It fails if the code is outside of the
// interval, which no encoder writes: what follows would depend on the decoder's word size.
func newBoolDecoder(partition []byte) (*boolDecoder, error) {
	if len(partition) > 0 && partition[0] == 255 {
		return nil, ErrInvalidCode
	}
	return &boolDecoder{interval: interval{width: 255, spare: -8}, data: partition}, nil
}

// fill returns v with at least a byte to compare.
func (d *boolDecoder) fill(v interval) interval {
	switch {
	case len(d.data) >= 8:
		// The eighth byte's bits are read again by the next fill, over the same bits.
		v.value |= binary.BigEndian.Uint64(d.data) >> uint(v.spare+8)
		v.spare += 56
		d.data = d.data[7:]
	case len(d.data) > 0:
		v.value |= uint64(d.data[0]) << uint(48-v.spare)
		v.spare += 8
		d.data = d.data[1:]
	default:
		d.truncated = true
		v.spare += 56
	}
	return v
}

// split returns the width of a bool's part for 0, of probability p of 256.
func (v interval) split(p uint8) uint64 { return 1 + (v.width-1)*uint64(p)>>8 }

// below reports whether the bool is 0.
func (v interval) below(split uint64) bool { return v.value < split<<56 }

// zero returns the interval after a bool that is 0.
func (v interval) zero(split uint64) interval {
	n := bits.LeadingZeros8(uint8(split))
	return interval{v.value << (n & 7), split << (n & 7), v.spare - n}
}

// one returns the interval after a bool that is 1.
func (v interval) one(split uint64) interval {
	width := v.width - split
	n := bits.LeadingZeros8(uint8(width))
	return interval{(v.value - split<<56) << (n & 7), width << (n & 7), v.spare - n}
}

// sign returns the interval after a bool of probability 128, without a branch, as that would
// be mispredicted half of the time. mask is 0 for 0 and -1 for 1.
func (v interval) sign() (after interval, mask int64) {
	split := (v.width + 1) / 2
	rest := int64(v.value - split<<56) // below 127<<56, as value is below width<<56
	mask = ^(rest >> 63)
	width := split + uint64(mask)&(v.width-2*split)
	n := bits.LeadingZeros8(uint8(width))
	value := v.value - split<<56&uint64(mask)
	return interval{value << (n & 7), width << (n & 7), v.spare - n}, mask
}

// bool decodes a bool whose probability of being false is p of 256.
func (d *boolDecoder) bool(p uint8) bool {
	v := d.interval
	if v.spare < 0 {
		v = d.fill(v)
	}
	split := v.split(p)
	if v.below(split) {
		d.interval = v.zero(split)
		return false
	}
	d.interval = v.one(split)
	return true
}

// flag decodes a bit (section 8: L(1)).
func (d *boolDecoder) flag() bool { return d.bool(128) }

// literal decodes an unsigned number of n bits (section 8: L(n)).
func (d *boolDecoder) literal(n int) (x int) {
	for range n {
		x *= 2
		if d.flag() {
			x++
		}
	}
	return x
}

// signed decodes a magnitude of n bits and a sign.
func (d *boolDecoder) signed(n int) int {
	x := d.literal(n)
	if d.flag() {
		return -x
	}
	return x
}

// optional decodes a flag and, if set, a signed number; else it returns 0.
func (d *boolDecoder) optional(n int) int {
	if !d.flag() {
		return 0
	}
	return d.signed(n)
}

// A tree has two entries for each node, for 0 and 1: the index of a node, or minus a value
// (section 8.1).
type tree []int8

// value decodes a value of a tree, whose nodes have the probabilities p.
func (d *boolDecoder) value(t tree, p []uint8) uint8 {
	v := d.interval
	for i := int8(0); ; {
		if v.spare < 0 {
			v = d.fill(v)
		}
		split := v.split(p[i/2])
		if v.below(split) {
			v = v.zero(split)
			i = t[i]
		} else {
			v = v.one(split)
			i = t[i+1]
		}
		if i <= 0 {
			d.interval = v
			return uint8(-i)
		}
	}
}
