// Copyright 2011 The Go Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package vp8

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Each VP8 frame consists of between 2 and 9 bitstream partitions.
// Each partition is byte-aligned and is independently arithmetic-encoded.
//
// This file implements decoding a partition's bitstream, as specified in
// chapter 7. The implementation follows libwebp's approach instead of the
// specification's reference C implementation. It reads seven
// bytes at a time.

// uniformProb represents a 50% probability that the next bit is 0.
const uniformProb = 128

// partition holds arithmetic-coded bits.
type partition struct {
	// buf is the input bytes.
	buf []byte
	// r is how many of buf's bytes have been consumed.
	r int
	// size is the range, in the arithmetic coding sense, not the Go language sense.
	size uint64
	// bits holds nBits bits shifted out of buf but not yet consumed.
	bits  uint64
	nBits uint
	// unexpectedEOF tells whether we tried to read past buf.
	unexpectedEOF bool
}

// ErrInvalidState is returned for a frame with a partition that starts with 255, as no encoder
// writes it: its value is not less than the range. What such a partition decodes to depends on
// the decoder's word size.
var ErrInvalidState = errors.New("vp8: invalid arithmetic code")

// init initializes the partition.
func (p *partition) init(buf []byte) error {
	*p = partition{buf: buf, size: 255}
	if len(buf) > 0 && buf[0] == 255 {
		return ErrInvalidState
	}
	return nil
}

// fill makes at least 8 bits available, or returns false.
func (p *partition) fill() bool {
	if p.r+8 <= len(p.buf) {
		p.bits = p.bits<<56 | binary.BigEndian.Uint64(p.buf[p.r:])>>8
		p.r += 7
		p.nBits += 56
		return true
	}
	for p.nBits < 8 {
		if p.r >= len(p.buf) {
			p.unexpectedEOF = true
			return false
		}
		p.bits = p.bits<<8 | uint64(p.buf[p.r])
		p.r++
		p.nBits += 8
	}
	return true
}

// next decodes a bit from n bits, of which at least 8 are available, and returns what is
// left of them.
func next(b, size uint64, n uint, prob uint8) (uint64, uint64, uint, bool) {
	split := (size-1)*uint64(prob)>>8 + 1
	bit := false
	if at := split << ((n - 8) & 63); b >= at {
		b, size, bit = b-at, size-split, true
	} else {
		size = split
	}
	shift := uint(bits.LeadingZeros64(size)) - 56
	return b, size << (shift & 63), n - shift, bit
}

// readBit returns the next bit.
func (p *partition) readBit(prob uint8) (bit bool) {
	if p.nBits < 8 && !p.fill() {
		return false
	}
	p.bits, p.size, p.nBits, bit = next(p.bits, p.size, p.nBits, prob)
	return bit
}

// readUint returns the next n-bit unsigned integer.
func (p *partition) readUint(prob, n uint8) uint32 {
	var u uint32
	for n > 0 {
		n--
		if p.readBit(prob) {
			u |= 1 << n
		}
	}
	return u
}

// readInt returns the next n-bit signed integer.
func (p *partition) readInt(prob, n uint8) int32 {
	u := p.readUint(prob, n)
	b := p.readBit(prob)
	if b {
		return -int32(u)
	}
	return int32(u)
}

// readOptionalInt returns the next n-bit signed integer in an encoding
// where the likely result is zero.
func (p *partition) readOptionalInt(prob, n uint8) int32 {
	if !p.readBit(prob) {
		return 0
	}
	return p.readInt(prob, n)
}
