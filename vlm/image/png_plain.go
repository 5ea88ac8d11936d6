package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"patchwork/vlm/image/simd"
)

// maxPlainBytes limits the compressed bytes of a plainPNG, which may be copied.
const maxPlainBytes = 32 << 20

// A plainPNG is a flawless PNG of an ordinary form, which is decoded faster than by image/png:
// eight bits, not interlaced, no transparent colour but in a palette, every checksum right.
// Others, and those whose pixels turn out to be damaged, are left to image/png.
type plainPNG struct {
	w, h     int
	colour   byte // PNG's colour type
	channels int
	palette  []byte // RGB
	alpha    []byte // of the palette
	parts    [][]byte
	packed   int    // bytes of parts
	pixels   []byte // [h, 1+w*channels] and a byte: lines after their filter
}

// plainPNGChannels are the channels of each colour type.
var plainPNGChannels = map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

// readPlainPNG reads the chunks up to the end of the image; ok is false for other forms.
func readPlainPNG(data []byte) (p *plainPNG, ok bool) {
	p = &plainPNG{}
	last, ended := "", false
	at := len(pngMagic)
	ok = true
	pngChunks(data, func(kind string, body []byte) bool {
		sum := data[at+8+len(body):]
		ok = len(sum) >= 4 && crc32.ChecksumIEEE(data[at+4:at+8+len(body)]) == binary.BigEndian.Uint32(sum) &&
			p.chunk(kind, body, last)
		at += 12 + len(body)
		last = kind
		ended = kind == "IEND"
		return ok && !ended
	})
	return p, ok && ended && p.packed > 0 && p.packed <= maxPlainBytes
}

// chunk reads a chunk that follows one of kind last.
func (p *plainPNG) chunk(kind string, body []byte, last string) bool {
	if (last == "") != (kind == "IHDR") {
		return false
	}
	switch kind {
	case "IHDR":
		return p.header(body)
	case "PLTE":
		n := len(body) / 3
		ok := p.colour == 3 && p.palette == nil && p.packed == 0 && 3*n == len(body) && n > 0 && n <= 256
		p.palette = body
		return ok
	case "tRNS":
		ok := p.alpha == nil && p.packed == 0 && len(body) > 0 && 3*len(body) <= len(p.palette)
		p.alpha = body
		return ok
	case "IDAT":
		if p.packed > 0 && last != "IDAT" || p.colour == 3 && p.palette == nil {
			return false
		}
		p.parts = append(p.parts, body)
		p.packed += len(body)
	case "IEND":
		return len(body) == 0
	}
	return true
}

// header reads the size, bits, colour type, and methods of compression, filter and interlace.
func (p *plainPNG) header(body []byte) bool {
	if len(body) != 13 || string(body[10:]) != "\x00\x00\x00" || body[8] != 8 {
		return false
	}
	p.w, p.h = int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
	p.colour, p.channels = body[9], plainPNGChannels[body[9]]
	return p.channels > 0
}

var inflaters sync.Pool // of io.ReadCloser that is a zlib.Resetter

// inflate decompresses the pixels. It returns false unless they are complete and end with the
// file's compressed data.
func (p *plainPNG) inflate() bool {
	packed := p.parts[0]
	if len(p.parts) > 1 {
		packed = bytes.Join(p.parts, nil)
	}
	in := bytes.NewReader(packed)
	r, ok := inflaters.Get().(io.Reader)
	if ok {
		if r.(zlib.Resetter).Reset(in, nil) != nil {
			return false
		}
	} else {
		var err error
		if r, err = zlib.NewReader(in); err != nil {
			return false
		}
	}
	n := p.h * (1 + p.w*p.channels)
	p.pixels = make([]byte, n+1)
	if _, err := io.ReadFull(r, p.pixels[:n]); err != nil {
		return false
	}
	var more [1]byte
	if n, err := r.Read(more[:]); n != 0 || err != io.EOF || in.Len() != 0 {
		return false
	}
	inflaters.Put(r)
	return true
}

// unfilter inverts the filters of all lines.
func (p *plainPNG) unfilter() bool {
	width := p.w * p.channels
	above := make([]byte, width+1)
	for y := range p.h {
		line := p.pixels[y*(1+width):]
		if !simd.Unfilter(line[0], line[1:1+width], above, p.channels) {
			return false
		}
		above = line[1 : 2+width]
	}
	return true
}

// source returns the lines composited over white.
func (p *plainPNG) source() source {
	at := func(y int) []byte { return p.pixels[y*(1+p.w*p.channels)+1:][:p.w*p.channels] }
	s := source{}
	switch p.colour {
	case 0:
		s.line = func(dst []byte, y int) { grayLine(dst, at(y), 1) }
	case 2:
		s.line, s.reusable = func(dst []byte, y int) { copy(dst, at(y)) }, p.pixels
	case 3:
		table := p.table()
		s.line = func(dst []byte, y int) { palettedLine(dst, at(y), table) }
	case 4:
		s.line = func(dst []byte, y int) { grayAlphaLine(dst, at(y)) }
	case 6:
		s.line, s.reusable = func(dst []byte, y int) { straightLine(dst, at(y), 1) }, p.pixels
	}
	return s
}

// table returns the palette composited over white; colours beyond its end are black.
func (p *plainPNG) table() *[256][3]byte {
	var table [256][3]byte
	for i := range len(p.palette) / 3 {
		alpha := byte(255)
		if i < len(p.alpha) {
			alpha = p.alpha[i]
		}
		for k := range 3 {
			table[i][k] = overWhite(p.palette[3*i+k], alpha)
		}
	}
	return &table
}

// decodePlainPNG decodes a PNG of an ordinary form; ok is false for all others.
func decodePlainPNG(data []byte, hd header) (s source, ok bool) {
	p, ok := readPlainPNG(data)
	if !ok || p.w != hd.w || p.h != hd.h || !p.inflate() || !p.unfilter() {
		return source{}, false
	}
	return p.source(), true
}
