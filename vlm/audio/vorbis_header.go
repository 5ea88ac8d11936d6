package audio

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// maxCodebook limits the values of a codebook: libvorbis's largest have some 100,000. The decoder
// allocates what a header of a few bytes asks for, up to gigabytes.
const maxCodebook = 1 << 22

var errBadHeader = damaged("the Ogg file's Vorbis header is damaged")

// checkVorbisHeaders returns an error for headers that ask for more memory than they can use. Source:
// Vorbis I specification, sections 3.2.1 (codebooks), 4.2.4 and 5.2 (comments).
func checkVorbisHeaders(data []byte) error {
	packets := oggPackets(data, 3)
	if len(packets) < 3 || len(packets[1]) < 7 || len(packets[2]) < 8 {
		return errBadHeader
	}
	comments := packets[1][7:]
	if len(comments) < 4 {
		return errBadHeader
	}
	vendor := uint64(binary.LittleEndian.Uint32(comments)) + 4
	if uint64(len(comments)) < vendor+4 {
		return errBadHeader
	}
	if n := binary.LittleEndian.Uint32(comments[vendor:]); uint64(n) > uint64(len(comments))/4 {
		return errBadHeader
	}
	return checkCodebooks(&bitReader{data: packets[2][7:]})
}

// oggPackets returns the first n packets of a file, RFC 3533: a packet is the segments up to one of
// less than 255 bytes.
func oggPackets(data []byte, n int) (packets [][]byte) {
	var packet []byte
	for len(data) >= 27 && bytes.HasPrefix(data, []byte("OggS")) {
		segments := int(data[26])
		if len(data) < 27+segments {
			break
		}
		table, rest := data[27:27+segments], data[27+segments:]
		for _, size := range table {
			if len(rest) < int(size) {
				return packets
			}
			packet, rest = append(packet, rest[:size]...), rest[size:]
			if size == 255 {
				continue
			}
			if packets = append(packets, packet); len(packets) == n {
				return packets
			}
			packet = nil
		}
		data = rest
	}
	return packets
}

// checkCodebooks reads the codebooks at the start of a setup header.
func checkCodebooks(r *bitReader) error {
	for range r.read(8) + 1 {
		const sync = 0x564342
		if r.read(24) != sync {
			return errBadHeader
		}
		dimensions, entries := r.read(16), r.read(24)
		if entries == 0 || dimensions == 0 || uint64(entries)*uint64(dimensions) > maxCodebook {
			return errBadHeader
		}
		r.codeLengths(entries)
		r.lookup(dimensions, entries)
		if r.ended {
			return errBadHeader
		}
	}
	return nil
}

// codeLengths passes over the lengths of a codebook's codes.
func (r *bitReader) codeLengths(entries uint32) {
	if r.read(1) == 1 { // ordered: numbers of entries of each length
		r.read(5)
		for at := uint32(0); at < entries && !r.ended; {
			at += r.read(bits.Len32(entries - at))
		}
		return
	}
	sparse := r.read(1) == 1
	for i := uint32(0); i < entries && !r.ended; i++ {
		if !sparse || r.read(1) == 1 {
			r.read(5)
		}
	}
}

// lookup passes over a codebook's table of values.
func (r *bitReader) lookup(dimensions, entries uint32) {
	kind := r.read(4)
	if kind == 0 {
		return
	}
	r.read(32) // minimum
	r.read(32) // step
	width, values := int(r.read(4))+1, entries*dimensions
	r.read(1) // sequential
	if kind == 1 {
		values = uint32(math.Floor(math.Pow(float64(entries), 1/float64(dimensions))))
	}
	for i := uint32(0); i < values && !r.ended; i++ {
		r.read(width)
	}
}

// bitReader reads numbers from the lowest bit of each byte on.
type bitReader struct {
	data  []byte
	at    int // bits
	ended bool
}

// read returns a number of n bits, at most 32; 0 after the end.
func (r *bitReader) read(n int) (v uint32) {
	if r.at+n > 8*len(r.data) {
		r.ended = true
		return 0
	}
	for i := range n {
		v |= uint32(r.data[r.at/8]>>(r.at%8)&1) << i
		r.at++
	}
	return v
}
