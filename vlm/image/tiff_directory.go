package image

import (
	"encoding/binary"
	"math"
)

// Tags of TIFF and EXIF.
const (
	tagWidth           = 256
	tagLength          = 257
	tagBits            = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagStripOffsets    = 273
	tagOrientation     = 274
	tagSamples         = 277
	tagRowsPerStrip    = 278
	tagStripCounts     = 279
	tagPlanar          = 284
	tagFaxOptions      = 292
	tagPredictor       = 317
	tagColourMap       = 320
	tagTileWidth       = 322
	tagTileLength      = 323
	tagTileOffsets     = 324
	tagTileCounts      = 325
	tagExtraSamples    = 338
	tagSampleFormat    = 339
	tagJPEGTables      = 347
	tagJPEGOffset      = 513
	tagJPEGLength      = 514
	tagChromaSampling  = 530
	tagXMP             = 700
	maxTagsOfDirectory = 1 << 12
)

// A tiffDirectory is the first directory of a TIFF or BigTIFF block.
type tiffDirectory struct {
	data  []byte
	order binary.ByteOrder
	tags  map[uint16]tiffEntry
}

type tiffEntry struct {
	kind  uint16
	bytes []byte // complete values
}

// kindSizes are the bytes of a value of each type; 0: no such type.
var kindSizes = [...]int{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

// readDirectory reads the valid entries. A broken block has an empty directory.
func readDirectory(data []byte) tiffDirectory {
	d := tiffDirectory{data: data, order: binary.LittleEndian, tags: map[uint16]tiffEntry{}}
	if len(data) < 8 {
		return d
	}
	if data[0] == 'M' {
		d.order = binary.BigEndian
	}
	head, entry, at := 2, 12, uint64(d.order.Uint32(data[4:]))
	big := d.order.Uint16(data[2:]) == 43 && len(data) >= 16
	if big {
		head, entry, at = 8, 20, d.order.Uint64(data[8:])
	}
	if at > uint64(len(d.data)) || uint64(len(d.data))-at < uint64(head) {
		return d
	}
	count := uint64(d.order.Uint16(d.data[at:]))
	if big {
		count = d.order.Uint64(d.data[at:])
	}
	rest := d.data[at+uint64(head):]
	for ; count > 0 && len(rest) >= entry && len(d.tags) < maxTagsOfDirectory; count, rest = count-1, rest[entry:] {
		d.add(rest[:entry], big)
	}
	return d
}

func (d *tiffDirectory) add(e []byte, big bool) {
	tag, kind := d.order.Uint16(e), d.order.Uint16(e[2:])
	if _, seen := d.tags[tag]; seen || int(kind) >= len(kindSizes) || kindSizes[kind] == 0 {
		return
	}
	n, inline := uint64(d.order.Uint32(e[4:])), e[8:]
	if big {
		n, inline = d.order.Uint64(e[4:]), e[12:]
	}
	size := uint64(kindSizes[kind])
	if n > uint64(len(d.data)) {
		return
	}
	n *= size
	if n > uint64(len(inline)) {
		at := uint64(d.order.Uint32(inline))
		if big {
			at = d.order.Uint64(inline)
		}
		if at > uint64(len(d.data)) || n > uint64(len(d.data))-at {
			return
		}
		inline = d.data[at:]
	}
	d.tags[tag] = tiffEntry{kind, inline[:n]}
}

// count returns the number of values of a tag.
func (d *tiffDirectory) count(tag uint16) int {
	e, ok := d.tags[tag]
	if !ok {
		return 0
	}
	return len(e.bytes) / kindSizes[e.kind]
}

// value returns the i-th value of a tag, or 0.
func (d *tiffDirectory) value(tag uint16, i int) int64 {
	e, ok := d.tags[tag]
	if !ok || i >= len(e.bytes)/kindSizes[e.kind] {
		return 0
	}
	const signedByte, signedShort, signedLong = 6, 8, 9
	switch b := e.bytes[i*kindSizes[e.kind]:]; kindSizes[e.kind] {
	case 1:
		if e.kind == signedByte {
			return int64(int8(b[0]))
		}
		return int64(b[0])
	case 2:
		if e.kind == signedShort {
			return int64(int16(d.order.Uint16(b)))
		}
		return int64(d.order.Uint16(b))
	case 4:
		if e.kind == signedLong {
			return int64(int32(d.order.Uint32(b)))
		}
		return int64(d.order.Uint32(b))
	default:
		return d.wide(e.kind, b)
	}
}

// wide reads a value of 8 bytes; fractions are rounded down.
func (d *tiffDirectory) wide(kind uint16, b []byte) int64 {
	const rational, signedRational = 5, 10
	if kind == rational || kind == signedRational {
		if below := d.order.Uint32(b[4:]); below != 0 {
			return int64(d.order.Uint32(b) / below)
		}
		return 0
	}
	return int64(min(d.order.Uint64(b), math.MaxInt64))
}

// first returns the first value of a tag, or missing if there is none.
func (d *tiffDirectory) first(tag uint16, missing int64) int64 {
	if d.count(tag) == 0 {
		return missing
	}
	return d.value(tag, 0)
}

func (d *tiffDirectory) bytes(tag uint16) []byte { return d.tags[tag].bytes }
