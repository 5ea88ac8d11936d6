package vp8

import (
	"encoding/binary"
	"math/bits"
)

const eachByte = 0x0101010101010101

// predict predicts a macroblock from the line above and the column on the left (RFC 6386,
// sections 12.2 and 12.3).
func (p *plane) predict(mode uint8, x, y int) {
	at, n := p.index(x, y), p.size
	above := p.above[border+x*n-1:][:1+n] // from the corner on
	switch mode {
	case predictDC:
		p.fill(at, eachByte*p.average(at, above[1:], x > 0, y > 0))
	case predictVertical:
		for range n {
			copy(p.pix[at:][:n], above[1:])
			at += p.stride
		}
	case predictHorizontal:
		for range n {
			line := p.pix[at-1:][:1+n]
			left := eachByte * uint64(line[0])
			for i := 1; i < len(line); i += 8 {
				binary.LittleEndian.PutUint64(line[i:], left)
			}
			at += p.stride
		}
	case predictTrueMotion:
		for range n {
			line := p.pix[at-1:][:1+n]
			for i := 1; i < len(line); i += 8 {
				a := binary.LittleEndian.Uint64(above[i:])
				binary.LittleEndian.PutUint64(line[i:], addStep(a, line[0], above[0]))
			}
			at += p.stride
		}
	}
}

// fill sets all samples of a macroblock, to the eight given.
func (p *plane) fill(at int, samples uint64) {
	for range p.size {
		line := p.pix[at:][:p.size]
		for i := 0; i < len(line); i += 8 {
			binary.LittleEndian.PutUint64(line[i:], samples)
		}
		at += p.stride
	}
}

// average returns the mean of the samples above and on the left that are in the frame.
func (p *plane) average(at int, above []byte, hasLeft, hasAbove bool) uint64 {
	if !hasLeft && !hasAbove {
		return 128
	}
	sum, shift := 0, bits.Len(uint(p.size))-2
	if hasAbove {
		for _, s := range above {
			sum += int(s)
		}
		shift++
	}
	if hasLeft {
		for i := range p.size {
			sum += int(p.pix[at-1+i*p.stride])
		}
		shift++
	}
	return uint64((sum + 1<<(shift-1)) >> shift)
}

// addStep adds left - corner to eight samples, and clamps them to a byte.
func addStep(samples uint64, left, corner byte) uint64 {
	if left >= corner {
		return addClamped(samples, eachByte*uint64(left-corner))
	}
	return ^addClamped(^samples, eachByte*uint64(corner-left))
}

// addClamped adds each byte, at most to 255.
func addClamped(a, b uint64) uint64 {
	const high = 0x80 * eachByte
	sum := (a&^high + b&^high) ^ (a^b)&high
	carry := (a&b | (a|b)&^sum) & high >> 7
	return sum | carry*255
}
