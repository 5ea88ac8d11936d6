package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"patchwork/vlm/image/simd"
)

// A jpegDecoder decodes baseline, extended and progressive JPEG with 8 bits and Huffman
// coding, with any integral chroma subsampling.
type jpegDecoder struct {
	stream      []byte
	w, h        int
	comps       []jpegComponent
	samples     []byte // of all planes
	maxH, maxV  int
	mcusX       int
	mcusY       int
	progressive bool
	quant       [4][64]int32 // in natural order
	dc, ac      [4]*huffman
	restart     int
	jfif        bool
	adobe       int // colour transform of the Adobe segment; -1: no such segment
	seen        bool
	limits      jpegLimits
	scans       int
	repeat      bool // upsample chroma by repetition, without interpolation
}

// jpegLimits are the maximum frame size and number of scans.
type jpegLimits struct{ w, h, scans int }

// A jpegComponent is one plane of the image.
type jpegComponent struct {
	id, table byte
	h, v      int // sampling factors
	w, rows   int // samples
	bw, bh    int // blocks, whole MCUs
	plane     []byte
	coeffs    []int16    // progressive: of all blocks, in natural order
	steps     *[64]int32 // quantisation table at the component's first scan
}

// zigzag maps a coefficient's zigzag index to its natural index. The last 16 entries catch
// runs beyond the block.
var zigzag = [64 + 16]byte{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}

const (
	markSOF2 = 0xc2
	markDHT  = 0xc4
	markRST0 = 0xd0
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDNL  = 0xdc
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPP1 = 0xe1
	markAPPE = 0xee
)

// decodeJPEG decodes the planes of an image. tables may be an abbreviated stream with tables
// that data lacks.
func decodeJPEG(tables, data []byte, limits jpegLimits) (*jpegDecoder, error) {
	d := &jpegDecoder{adobe: -1, limits: limits}
	d.dc, d.ac = standardTables()
	if len(tables) > 0 {
		d.stream = tables
		if err := d.markers(); err != nil {
			return nil, err
		}
	}
	d.stream = data
	if err := d.markers(); err != nil {
		return nil, err
	}
	if !d.seen {
		return nil, formatError("jpeg", "no pixels")
	}
	for i := range d.comps {
		d.comps[i].transform()
	}
	return d, nil
}

// markers processes all segments up to the end of the image.
func (d *jpegDecoder) markers() error {
	for p := 2; ; {
		for p < len(d.stream) && d.stream[p] != 0xff { // like libjpeg, skip garbage between segments
			p++
		}
		for p < len(d.stream) && d.stream[p] == 0xff {
			p++
		}
		if p >= len(d.stream) {
			if d.complete() {
				return nil
			}
			return io.ErrUnexpectedEOF
		}
		marker := d.stream[p]
		p++
		if marker == markEOI {
			return nil
		}
		if marker <= 1 || marker >= markRST0 && marker < markEOI {
			continue
		}
		if p+2 > len(d.stream) {
			return io.ErrUnexpectedEOF
		}
		end := p + int(binary.BigEndian.Uint16(d.stream[p:]))
		if end > len(d.stream) {
			return io.ErrUnexpectedEOF
		}
		if end < p+2 {
			return formatError("jpeg", "invalid segment length")
		}
		body := d.stream[p+2 : end]
		p = end
		if marker == markSOS {
			if d.scans++; d.scans > d.limits.scans {
				return unsupportedError("jpeg", "too many scans")
			}
			next, err := d.scan(body, p)
			if err != nil {
				return err
			}
			p = next
			continue
		}
		if err := d.segment(marker, body); err != nil {
			return err
		}
	}
}

// complete reports whether only the end marker is missing.
func (d *jpegDecoder) complete() bool { return d.seen || d.comps == nil }

func (d *jpegDecoder) segment(marker byte, body []byte) error {
	switch {
	case marker == markDQT:
		return d.quantisation(body)
	case marker == markDHT:
		return d.huffmanTables(body)
	case marker == markDRI && len(body) >= 2:
		d.restart = int(binary.BigEndian.Uint16(body))
	case marker == markAPP0 && len(body) >= 5 && string(body[:5]) == "JFIF\x00":
		d.jfif = true
	case marker == markAPPE && len(body) >= 12 && string(body[:5]) == "Adobe":
		d.adobe = int(body[11])
	case isFrame(marker):
		return d.frame(marker, body)
	}
	return nil
}

// isFrame reports whether marker is one of SOF0 to SOF15.
func isFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != markDHT && marker != 0xc8 && marker != 0xcc
}

func (d *jpegDecoder) quantisation(body []byte) error {
	for len(body) > 0 {
		size, id := 64, int(body[0]&15)
		wide := body[0] >= 16
		if wide {
			size = 128
		}
		if len(body) < 1+size || id > 3 {
			return formatError("jpeg", "invalid quantisation table")
		}
		for i := range 64 {
			v := int32(body[1+i%size])
			if wide {
				v = int32(binary.BigEndian.Uint16(body[1+2*i:]))
			}
			d.quant[id][zigzag[i]] = v
		}
		body = body[1+size:]
	}
	return nil
}

func (d *jpegDecoder) huffmanTables(body []byte) error {
	for len(body) >= 17 {
		n := 0
		for _, c := range body[1:17] {
			n += int(c)
		}
		class, id := body[0]>>4, body[0]&15
		if n > 256 || len(body) < 17+n || class > 1 || id > 3 {
			return formatError("jpeg", "invalid Huffman table")
		}
		build := newHuffman
		if class == 1 {
			build = newCoefficientHuffman
		}
		h := build(body[1:17], body[17:17+n])
		if h == nil {
			return formatError("jpeg", "invalid Huffman table")
		}
		if class == 0 {
			d.dc[id] = h
		} else {
			d.ac[id] = h
		}
		body = body[17+n:]
	}
	return nil
}

// frame reads a frame header and allocates its planes.
func (d *jpegDecoder) frame(marker byte, body []byte) error {
	if err := frameSupported(marker, body); err != nil {
		return err
	}
	if d.comps != nil {
		return formatError("jpeg", "two frames")
	}
	d.progressive = marker == markSOF2
	d.h, d.w = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if d.w < 1 || d.h < 1 || d.w > d.limits.w || d.h > d.limits.h {
		return formatError("jpeg", "invalid frame size")
	}
	d.comps = make([]jpegComponent, body[5])
	d.maxH, d.maxV = 1, 1
	for i := range d.comps {
		b := body[6+3*i:]
		d.comps[i] = jpegComponent{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), table: b[2] & 3}
		d.maxH, d.maxV = max(d.maxH, d.comps[i].h), max(d.maxV, d.comps[i].v)
	}
	d.mcusX, d.mcusY = ceilDiv(d.w, 8*d.maxH), ceilDiv(d.h, 8*d.maxV)
	d.samples = newPlanes(d.samplesSize())
	free := d.samples
	for i := range d.comps {
		c := &d.comps[i]
		c.w, c.rows = ceilDiv(d.w*c.h, d.maxH), ceilDiv(d.h*c.v, d.maxV)
		c.bw, c.bh = d.mcusX*c.h, d.mcusY*c.v
		n := 64 * c.bw * c.bh
		c.plane, free = free[:n:n], free[n:]
		if d.progressive {
			c.coeffs = make([]int16, n)
		}
	}
	return nil
}

// samplesSize returns the bytes of all planes.
func (d *jpegDecoder) samplesSize() (n int) {
	for i := range d.comps {
		n += 64 * d.comps[i].h * d.comps[i].v
	}
	return n * d.mcusX * d.mcusY
}

// maxPlanes limits the bytes of the planes that are kept for another image.
const maxPlanes = 8 << 20

var planes sync.Pool // of *[]byte

// newPlanes returns n zeros.
func newPlanes(n int) []byte {
	if kept, _ := planes.Get().(*[]byte); kept != nil && cap(*kept) >= n {
		b := (*kept)[:n]
		clear(b)
		return b
	}
	return make([]byte, n)
}

// free keeps the planes for another image. They must not be read any more.
func (d *jpegDecoder) free() {
	if cap(d.samples) <= maxPlanes {
		planes.Put(&d.samples)
	}
}

// frameSupported returns an error if a frame header is invalid or has an unsupported
// feature.
func frameSupported(marker byte, body []byte) error {
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return formatError("jpeg", "truncated frame header")
	}
	switch {
	case marker == 0xc3 || marker == 0xc7 || marker == 0xcb || marker == 0xcf:
		return unsupportedError("jpeg", "lossless coding")
	case marker > 0xc8:
		return unsupportedError("jpeg", "arithmetic coding")
	case marker > 0xc2:
		return unsupportedError("jpeg", "hierarchical coding")
	case body[0] != 8:
		return unsupportedError("jpeg", fmt.Sprintf("samples of %d bits", body[0]))
	case body[5] != 1 && body[5] != 3 && body[5] != 4:
		return unsupportedError("jpeg", fmt.Sprintf("%d components", body[5]))
	}
	largest := [2]int{1, 1}
	for i := range int(body[5]) {
		h, v := int(body[6+3*i+1]>>4), int(body[6+3*i+1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 {
			return formatError("jpeg", "sampling factor out of range")
		}
		largest[0], largest[1] = max(largest[0], h), max(largest[1], v)
	}
	for i := range int(body[5]) {
		if largest[0]%int(body[6+3*i+1]>>4) != 0 || largest[1]%int(body[6+3*i+1]&15) != 0 {
			return unsupportedError("jpeg", "fractional chroma sampling")
		}
	}
	return nil
}

// transform computes a progressive component's samples from its coefficients.
func (c *jpegComponent) transform() {
	if c.coeffs == nil || c.steps == nil {
		return
	}
	stride := 8 * c.bw
	for b := range c.bw * c.bh {
		simd.InverseDCT(c.plane[b/c.bw*8*stride+b%c.bw*8:], stride, (*[64]int16)(c.coeffs[64*b:]), c.steps)
	}
	c.coeffs = nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
