package image

import (
	"encoding/binary"
	"sync"
)

const (
	lookBits   = 9       // of the lookup tables
	symbolBits = 17 + 16 // the most that a code and the value after it take
)

// A huffman decodes the codes of one table.
type huffman struct {
	look   [1 << lookBits]uint16 // length<<8 | value; 0 for a longer code
	last   [17]int32             // the largest code of each length, or -1
	offset [17]int32             // index of each length's first value, minus its first code
	values []byte

	// coeffs are the nonzero AC coefficients whose code and value fit: value<<16 | run<<8 |
	// length of both; 0 for others.
	coeffs [1 << lookBits]uint32
}

// newHuffman returns the decoder of a table with counts codes of each length 1 to 16. It
// returns nil if the counts are invalid.
func newHuffman(counts, values []byte) *huffman {
	h := &huffman{values: values}
	code, k := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		n := int32(counts[length-1])
		if code+n > 1<<length || int(k+n) > len(values) {
			return nil
		}
		h.offset[length] = k - code
		h.last[length] = -1
		if n > 0 {
			h.last[length] = code + n - 1
		}
		for range n {
			if length <= lookBits {
				spare := lookBits - length
				for i := range int32(1) << spare {
					h.look[code<<spare|i] = uint16(length)<<8 | uint16(values[k])
				}
			}
			code, k = code+1, k+1
		}
		code <<= 1
	}
	return h
}

// newCoefficientHuffman returns the decoder of a table of AC coefficients.
func newCoefficientHuffman(counts, values []byte) *huffman {
	h := newHuffman(counts, values)
	if h == nil {
		return nil
	}
	for i, e := range h.look {
		length, run, size := int(e>>8), uint32(e>>4&15), int(e&15)
		if rest := lookBits - length - size; size > 0 && rest >= 0 {
			value := extend(int32(i>>rest)&(1<<size-1), size)
			h.coeffs[i] = uint32(value)<<16 | run<<8 | uint32(length+size)
		}
	}
	return h
}

// A bitReader reads the bits of a scan, followed by zeros.
type bitReader struct {
	data   []byte
	p      int
	acc    uint64
	n      int  // number of valid low bits in acc
	padded int  // number of zeros in acc that are not in the data
	marked bool // p is at a marker
}

// fill makes at least 57 bits valid, or 24 beyond the end of the data.
func (b *bitReader) fill() {
	if !b.marked && b.n < 56 && b.p+8 <= len(b.data) {
		x := binary.BigEndian.Uint64(b.data[b.p:])
		if noFF := ^x; (noFF-0x0101010101010101)&^noFF&0x8080808080808080 == 0 {
			k := uint(63-b.n) >> 3
			b.acc = b.acc<<(8*k&63) | x>>((64-8*k)&63)
			b.p, b.n = b.p+int(k), b.n+8*int(k)
			return
		}
	}
	for b.n <= 56 {
		if b.marked || b.p >= len(b.data) {
			if b.n <= 32 {
				b.acc <<= 24
				b.n += 24
				b.padded += 24
			}
			return
		}
		c := b.data[b.p]
		if c == 0xff {
			if b.p+1 >= len(b.data) {
				b.p++
				continue
			}
			if b.data[b.p+1] != 0 {
				b.marked = true
				continue
			}
			b.p++
		}
		b.p++
		b.acc = b.acc<<8 | uint64(c)
		b.n += 8
	}
}

// bit reads one bit.
func (b *bitReader) bit() bool {
	if b.n == 0 {
		b.fill()
	}
	b.n--
	return b.acc>>(b.n&63)&1 != 0
}

// bits reads up to 16 bits.
func (b *bitReader) bits(n int) int32 {
	if b.n < n {
		b.fill()
	}
	b.n -= n
	return int32(b.acc>>b.n) &^ (-1 << n)
}

// signed reads a value of n bits in JPEG's encoding of differences and coefficients.
func (b *bitReader) signed(n int) int32 {
	return extend(b.bits(n), n)
}

// extend returns the value that JPEG encodes as v in n bits.
func extend(v int32, n int) int32 {
	if v < 1<<n>>1 {
		v += -1<<n + 1
	}
	return v
}

// symbol reads a code; the value is 0 if the table lacks it.
func (b *bitReader) symbol(h *huffman) int {
	if b.n < 17 {
		b.fill()
	}
	if e := h.look[b.acc>>(b.n-lookBits)&(1<<lookBits-1)]; e != 0 {
		b.n -= int(e >> 8)
		return int(e & 255)
	}
	for length := lookBits + 1; length <= 16; length++ {
		code := int32(b.acc>>(b.n-length)) & (1<<length - 1)
		if code <= h.last[length] {
			b.n -= length
			return int(h.values[code+h.offset[length]])
		}
	}
	b.n -= 17 // as libjpeg
	return 0
}

// exhausted reports whether bits beyond the data were read.
func (b *bitReader) exhausted() bool { return b.n < b.padded }

// align discards the rest of the byte and all bits read ahead.
func (b *bitReader) align() { b.acc, b.n, b.padded = 0, 0, 0 }

// standardTables returns the tables of ITU-T T.81, Annex K.3, which MJPEG frames omit: luma
// and chroma, for DC and AC.
var standardTables = sync.OnceValues(func() (dc, ac [4]*huffman) {
	for i, t := range [2]struct{ dcCounts, dcValues, acCounts, acValues string }{
		{"\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
			"\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d", lumaAC},
		{"\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
			"\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77", chromaAC},
	} {
		dc[i] = newHuffman([]byte(t.dcCounts), []byte(t.dcValues))
		ac[i] = newCoefficientHuffman([]byte(t.acCounts), []byte(t.acValues))
	}
	return dc, ac
})

const lumaAC = "\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
	"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
	"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
	"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
	"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
	"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
	"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
	"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
	"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
	"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa"

const chromaAC = "\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
	"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
	"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
	"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
	"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
	"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
	"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
	"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
	"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
	"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
	"\xf9\xfa"
