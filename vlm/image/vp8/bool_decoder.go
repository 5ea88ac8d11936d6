package vp8

import (
	"encoding/binary"
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
	width uint64 // RFC 6386's range less 1: 127 to 254
	spare int    // bits known in value after the first byte; below 0, fill is due
}

// newBoolDecoder starts to decode a partition. It fails if the code is outside of the
// interval, which no encoder writes: what follows would depend on the decoder's word size.
func newBoolDecoder(partition []byte) (*boolDecoder, error) {
	if len(partition) > 0 && partition[0] == 255 {
		return nil, ErrInvalidCode
	}
	return &boolDecoder{interval: interval{width: 254, spare: -8}, data: partition}, nil
}

// fill returns v with at least a byte to compare.
//
//go:noinline
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

// split returns the width of a bool's part for 0, less 1. p of 256 is the probability of 0.
func (v interval) split(p uint8) uint64 { return v.width * uint64(p) >> 8 }

// below reports whether the bool is 0.
func (v interval) below(split uint64) bool { return v.value>>56 <= split }

// zero returns the interval after a bool that is 0.
func (v interval) zero(split uint64) interval {
	w := widened[uint8(split)]
	return interval{v.value << (w.shift & 7), uint64(w.width), v.spare - int(w.shift)}
}

// one returns the interval after a bool that is 1.
func (v interval) one(split uint64) interval {
	w := widened[uint8(v.width-split-1)]
	return interval{(v.value - (split+1)<<56) << (w.shift & 7), uint64(w.width), v.spare - int(w.shift)}
}

// sign returns the interval after a bool of probability 128, without a branch, as that would
// be mispredicted half of the time. negative is 0 or -1.
func (v interval) sign() (after interval, negative int32) {
	split := v.width / 2
	rest := v.value - (split+1)<<56
	below := uint64(int64(rest) >> 63) // all ones, as rest is below 1<<63 otherwise
	w := widened[uint8(split-1&^below&^v.width)]
	rest += (split + 1) << 56 & below
	return interval{rest << (w.shift & 7), uint64(w.width), v.spare - int(w.shift)}, ^int32(below)
}

// widened are widths, less 1, shifted until they are at least 128, and the number of shifts:
// one lookup takes less time than the count of leading zeros and the shift, on which every
// bool waits for the one before.
var widened = func() (table [256]struct{ width, shift uint8 }) {
	for i := range table {
		width, shift := i+1, 0
		for ; width < 128; width *= 2 {
			shift++
		}
		table[i] = struct{ width, shift uint8 }{uint8(width - 1), uint8(shift)}
	}
	return table
}()

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
