package image

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
)

// An avifFile is the relevant part of an AVIF file's boxes (ISO/IEC 23008-12, AV1 Image File
// Format): items, their sizes and the offsets of their data.
type avifFile struct {
	data    []byte
	primary uint32
	items   map[uint32]*avifItem
	inner   []byte // the box idat, with the data of inner items
	props   []avifProperty
}

type avifItem struct {
	kind, mime string
	size       image.Point
	turns      int // quarters, anticlockwise
	mirror     int // 0 none, 1 top to bottom, 2 left to right
	inner      bool
	parts      [][2]uint64 // offset and length
}

type avifProperty struct {
	kind string
	body []byte
}

const maxItems = 1 << 12

// boxes calls each for every box up to the first that is not complete.
func boxes(data []byte, each func(kind string, body []byte)) {
	for len(data) >= 8 {
		size, head := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		if size == 1 && len(data) >= 16 {
			size, head = binary.BigEndian.Uint64(data[8:]), 16
		}
		if size == 0 {
			size = uint64(len(data))
		}
		if size < head || size > uint64(len(data)) {
			return
		}
		each(string(data[4:8]), data[head:size])
		data = data[size:]
	}
}

func readAVIF(data []byte) (*avifFile, error) {
	f := &avifFile{data: data, items: map[uint32]*avifItem{}}
	boxes(data, func(kind string, body []byte) {
		if kind == "meta" && len(body) >= 4 {
			boxes(body[4:], f.meta)
		}
	})
	first := f.items[f.primary]
	switch {
	case len(f.items) > maxItems:
		return nil, formatError("avif", "too many items")
	case first == nil || first.kind == "":
		return nil, unsupportedError("avif", "a file without a still image")
	case first.size.X < 1 || first.size.Y < 1:
		return nil, formatError("avif", "no pixels")
	}
	return f, nil
}

func (f *avifFile) item(id uint32) *avifItem {
	if f.items[id] == nil {
		f.items[id] = &avifItem{}
	}
	return f.items[id]
}

func (f *avifFile) meta(kind string, body []byte) {
	r := boxReader{b: body}
	switch kind {
	case "idat":
		f.inner = body
		return
	case "iprp":
		boxes(body, func(kind string, body []byte) {
			switch kind {
			case "ipco":
				boxes(body, func(kind string, body []byte) { f.props = append(f.props, avifProperty{kind, body}) })
			case "ipma":
				f.associate(boxReader{b: body})
			}
		})
		return
	case "pitm", "iinf", "iloc":
	default:
		return
	}
	version := r.number(4) >> 24
	switch kind {
	case "pitm":
		f.primary = uint32(r.number(2 + 2*int(min(version, 1))))
	case "iinf":
		r.number(2 + 2*int(min(version, 1)))
		boxes(r.b, func(kind string, body []byte) {
			if kind == "infe" {
				f.info(boxReader{b: body})
			}
		})
	case "iloc":
		f.locate(r, version)
	}
}

// info reads an item's type.
func (f *avifFile) info(r boxReader) {
	version := r.number(4) >> 24
	if version < 2 {
		return
	}
	i := f.item(uint32(r.number(2 + 2*int(min(version-2, 1)))))
	r.number(2)
	i.kind = string(r.take(4))
	_, rest, _ := bytes.Cut(r.b, []byte{0})
	mime, _, _ := bytes.Cut(rest, []byte{0})
	i.mime = string(mime)
}

// locate reads the offsets of the items' data.
func (f *avifFile) locate(r boxReader, version uint64) {
	sizes := r.number(2)
	offset, length, base, index := int(sizes>>12), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	if version == 0 {
		index = 0
	}
	wide := 2
	if version >= 2 {
		wide = 4
	}
	for n := r.number(wide); n > 0 && !r.short && len(f.items) <= maxItems; n-- {
		i := f.item(uint32(r.number(wide)))
		if version > 0 {
			i.inner = r.number(2)&15 == 1
		}
		r.number(2)
		start := r.number(base)
		for parts := r.number(2); parts > 0 && !r.short; parts-- {
			r.number(index)
			i.parts = append(i.parts, [2]uint64{start + r.number(offset), r.number(length)})
		}
	}
}

// associate assigns the properties to the items.
func (f *avifFile) associate(r boxReader) {
	head := r.number(4)
	id := 2
	if head>>24 > 0 {
		id = 4
	}
	for n := r.number(4); n > 0 && !r.short && len(f.items) <= maxItems; n-- {
		i := f.item(uint32(r.number(id)))
		for k := r.number(1); k > 0 && !r.short; k-- {
			at := r.number(1) & 0x7f
			if head&1 != 0 {
				at = at<<8 | r.number(1)
			}
			if at >= 1 && at <= uint64(len(f.props)) {
				i.set(f.props[at-1])
			}
		}
	}
}

func (i *avifItem) set(p avifProperty) {
	r := boxReader{b: p.body}
	switch p.kind {
	case "ispe":
		r.number(4)
		w, h := r.number(4), r.number(4)
		i.size = image.Pt(int(min(w, math.MaxInt32)), int(min(h, math.MaxInt32)))
	case "irot":
		i.turns = int(r.number(1) & 3)
	case "imir":
		i.mirror = 1 + int(r.number(1)&1)
	}
}

// body returns an item's data, or nil if it is not complete.
func (f *avifFile) body(i *avifItem) []byte {
	from := f.data
	if i.inner {
		from = f.inner
	}
	var out []byte
	for _, p := range i.parts {
		if p[0] > uint64(len(from)) || p[1] > uint64(len(from))-p[0] || uint64(len(out))+p[1] > uint64(len(f.data)) {
			return nil
		}
		part := from[p[0] : p[0]+p[1]]
		if p[1] == 0 {
			part = from[p[0]:]
		}
		out = append(out, part...)
	}
	return out
}

// metadata returns EXIF's TIFF block and the XMP packet.
func (f *avifFile) metadata() (exif, xmp []byte) {
	for _, i := range f.items {
		switch {
		case i.kind == "Exif":
			if b := f.body(i); len(b) > 4 { // the block's offset comes first
				exif = b[min(4+uint64(binary.BigEndian.Uint32(b)), uint64(len(b))):]
			}
		case i.kind == "mime" && i.mime == "application/rdf+xml":
			xmp = f.body(i)
		}
	}
	return exif, xmp
}

// check checks that the streams are not larger than the boxes declare.
func (f *avifFile) check() error {
	for _, i := range f.items {
		if i.kind == "av01" {
			if s := streamSize(f.body(i)); s.X > max(i.size.X, 64) || s.Y > max(i.size.Y, 64) {
				return formatError("avif", "a stream is larger than its box declares")
			}
		}
	}
	return nil
}

// coded returns the number of pixels of all streams.
func (f *avifFile) coded() (n int64) {
	for _, i := range f.items {
		if i.kind == "av01" && i.size.X < 1<<16 && i.size.Y < 1<<16 {
			n += int64(i.size.X) * int64(i.size.Y)
		}
	}
	return n
}

// A boxReader reads numbers from a box. Beyond its end they are 0, and short is set.
type boxReader struct {
	b     []byte
	short bool
}

func (r *boxReader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *boxReader) number(bytes int) (v uint64) {
	for _, b := range r.take(bytes) {
		v = v<<8 | uint64(b)
	}
	return v
}

// streamSize returns the largest frame size in an AV1 stream's sequence headers (AV1
// specification, 5.5).
func streamSize(data []byte) (largest image.Point) {
	const sequenceHeader = 1
	for len(data) >= 2 {
		kind, extension, sized := data[0]>>3&15, data[0]&4 != 0, data[0]&2 != 0
		data = data[1:]
		if extension {
			data = data[1:]
		}
		size := uint64(len(data))
		if sized {
			n := 0
			if size, n = binary.Uvarint(data); n <= 0 { // LEB128
				return largest
			}
			data = data[n:]
			size = min(size, uint64(len(data)))
		}
		if kind == sequenceHeader {
			s := sequenceSize(data[:size])
			largest = image.Pt(max(largest.X, s.X), max(largest.Y, s.Y))
		}
		data = data[size:]
	}
	return largest
}

// sequenceSize reads a sequence header up to the size.
func sequenceSize(data []byte) image.Point {
	p := 0
	bits := func(n int) (v int) {
		for ; n > 0; n, p = n-1, p+1 {
			v <<= 1
			if p/8 < len(data) {
				v |= int(data[p/8]>>(7-p%8)) & 1
			}
		}
		return v
	}
	bits(4)           // seq_profile, still_picture
	if bits(1) == 1 { // a reduced header
		bits(5)
	} else {
		delay, model := 0, 0
		if bits(1) == 1 { // timing
			bits(32)
			bits(32)
			if bits(1) == 1 {
				zeros := 0
				for zeros < 32 && bits(1) == 0 {
					zeros++
				}
				bits(zeros)
			}
			if model = bits(1); model == 1 {
				delay = bits(5) + 1
				bits(32)
				bits(10)
			}
		}
		display := bits(1)
		for points := bits(5) + 1; points > 0; points-- {
			bits(12)
			if bits(5) > 7 {
				bits(1)
			}
			if model == 1 && bits(1) == 1 {
				bits(2*delay + 1)
			}
			if display == 1 && bits(1) == 1 {
				bits(4)
			}
		}
	}
	w, h := bits(4)+1, bits(4)+1
	return image.Pt(bits(w)+1, bits(h)+1)
}
