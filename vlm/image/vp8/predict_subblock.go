package vp8

import (
	"encoding/binary"
	"math/bits"
)

// predictSubblock predicts the subblock of column i and line j of a macroblock, and returns
// the index of its first sample.
func (p *plane) predictSubblock(mode uint8, x, y, i, j int) int {
	at := p.index(x, y) + 4*i + 4*j*p.stride
	a, b, c, d := subblockLines(mode, p.neighbours(at, x, i, j))
	s, stride := p.pix[at:][:3*p.stride+4], p.stride
	binary.LittleEndian.PutUint32(s, a)
	binary.LittleEndian.PutUint32(s[stride:], b)
	binary.LittleEndian.PutUint32(s[2*stride:], c)
	binary.LittleEndian.PutUint32(s[3*stride:], d)
	return at
}

// neighbours are the samples that a subblock is predicted from (RFC 6386, section 12.3).
type neighbours struct {
	path  uint64 // four on the left from the bottom up, the corner, and three above
	above uint64 // the eight above and on the right
}

// neighbours returns the neighbours of the subblock at an index.
func (p *plane) neighbours(at, x, i, j int) (n neighbours) {
	stride, line := p.stride, p.above[border+16*x-1:] // from the corner on
	corner := line[4*i]
	switch {
	case j == 0:
		n.above = binary.LittleEndian.Uint64(line[4*i+1:])
	case i < 3:
		n.above = binary.LittleEndian.Uint64(p.pix[at-stride:])
		corner = p.pix[at-stride-1]
	default: // those on the right are not decoded yet
		n.above = uint64(binary.LittleEndian.Uint32(p.pix[at-stride:]))
		n.above |= uint64(binary.LittleEndian.Uint32(line[17:])) << 32
		corner = p.pix[at-stride-1]
	}
	left := p.pix[at-1:][:3*stride+1]
	n.path = uint64(left[3*stride]) | uint64(left[2*stride])<<8 | uint64(left[stride])<<16 | uint64(left[0])<<24
	n.path |= uint64(corner)<<32 | n.above<<40
	return n
}

// subblockLines returns the lines of a predicted subblock.
//
// The means of two or three samples in a row are computed for eight of them at once, as bytes
// of a word, of which a line of a diagonal mode is a part.
func subblockLines(mode uint8, n neighbours) (a, b, c, d uint32) {
	path, above := n.path, n.above
	switch mode {
	case subblockTrueMotion:
		line := func(left uint64) uint32 { return uint32(addStep(above, byte(left), byte(path>>32))) }
		return line(path >> 24), line(path >> 16), line(path >> 8), line(path)
	case subblockVertical:
		a = uint32(mean3(path>>32, above, above>>8))
		return a, a, a, a
	case subblockHorizontal:
		m := mean3(path, path>>8, path>>16)
		last := mean3(path>>8, path, path) // of the two samples at the bottom
		line := func(mean uint64) uint32 { return eachByte32 * uint32(mean&0xff) }
		return line(m >> 16), line(m >> 8), line(m), line(last)
	case subblockLeftDown:
		last := above >> 56
		m := mean3(above, above>>8|last<<56, above>>16|last<<48)
		return uint32(m), uint32(m >> 8), uint32(m >> 16), uint32(m >> 24)
	case subblockRightDown:
		m := n.pathMeans()
		return uint32(m >> 24), uint32(m >> 16), uint32(m >> 8), uint32(m)
	case subblockVerticalRight:
		m := n.pathMeans()
		a, b = uint32(mean2(path>>32, above)), uint32(m>>24)
		return a, b, a<<8 | uint32(m>>16)&0xff, b<<8 | uint32(m>>8)&0xff
	case subblockVerticalLeft:
		m2, m3 := mean2(above, above>>8), mean3(above, above>>8, above>>16)
		c, d = uint32(m2>>8)&0xffffff, uint32(m3>>8)&0xffffff
		return uint32(m2), uint32(m3), c | uint32(m3>>32)<<24, d | uint32(m3>>40)<<24
	case subblockHorizontalDown:
		m3 := n.pathMeans()
		m := interleave(uint32(mean2(path, path>>8)), uint32(m3))
		return uint32(m>>48) | uint32(m3>>32)<<16, uint32(m >> 32), uint32(m >> 16), uint32(m)
	case subblockHorizontalUp:
		left := uint64(bits.ReverseBytes32(uint32(path)))
		left |= left >> 24 * 0x0101010100000000 // the last is repeated
		m := interleave(uint32(mean2(left, left>>8)), uint32(mean3(left, left>>8, left>>16)))
		return uint32(m), uint32(m >> 16), uint32(m >> 32), uint32(left >> 32)
	}
	a = eachByte32 * mean8(uint32(path), uint32(above))
	return a, a, a, a
}

// pathMeans returns the means of three samples of the path and the one beyond.
func (n neighbours) pathMeans() uint64 {
	return mean3(n.path, n.path>>8, n.path>>16|n.above>>24<<56>>8)
}

const eachByte32 = 0x01010101

// mean8 returns the mean of the eight bytes of two words.
func mean8(a, b uint32) uint32 {
	const even = 0x00ff00ff
	pairs := a&even + a>>8&even + b&even + b>>8&even
	return (pairs + pairs>>16 + 4) & 0xffff >> 3
}

// interleave returns the bytes of two words in turn.
func interleave(a, b uint32) uint64 { return spread(a) | spread(b)<<8 }

// spread returns the bytes of a word with zeros between them.
func spread(a uint32) uint64 {
	x := uint64(a)
	x = (x | x<<16) & 0x0000ffff0000ffff
	return (x | x<<8) & 0x00ff00ff00ff00ff
}

// mean2 returns (a+b+1)/2 of each byte.
func mean2(a, b uint64) uint64 { return a | b - (a^b)&(0xfe*eachByte)>>1 }

// mean3 returns (a+2b+c+2)/4 of each byte.
func mean3(a, b, c uint64) uint64 {
	half := a&c + (a^c)&(0xfe*eachByte)>>1 // (a+c)/2
	return mean2(half, b)
}
