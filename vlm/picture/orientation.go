package picture

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// orientationTag is TIFF's and EXIF's Orientation.
const orientationTag = 0x0112

// orientation reads the tag from the first directory of a TIFF block: 1 to 8,
// and 1, upright, where there is none or it makes no sense.
func orientation(block []byte) int {
	if v := readTags(block, orientationTag)[orientationTag]; v >= 1 && v <= 8 {
		return int(v)
	}
	return 1
}

// readTags reads the first value of some tags from the first directory of a TIFF
// block; tags that are not there, or are of another type than SHORT and LONG, are
// left out.
func readTags(block []byte, tags ...uint16) map[uint16]int64 {
	found := map[uint16]int64{}
	block = bytes.TrimPrefix(block, []byte("Exif\x00\x00"))
	if len(block) < 8 {
		return found
	}
	var order binary.ByteOrder = binary.LittleEndian
	if block[0] == 'M' {
		order = binary.BigEndian
	}
	start := uint64(order.Uint32(block[4:]))
	if start+2 > uint64(len(block)) {
		return found
	}
	count, entries := int(order.Uint16(block[start:])), block[start+2:]
	for ; count > 0 && len(entries) >= 12; count, entries = count-1, entries[12:] {
		tag := order.Uint16(entries)
		if _, seen := found[tag]; seen || !slices.Contains(tags, tag) {
			continue
		}
		const short, long = 3, 4
		switch order.Uint16(entries[2:]) {
		case long:
			found[tag] = int64(order.Uint32(entries[8:]))
		case short:
			found[tag] = int64(order.Uint16(entries[8:]))
		}
	}
	return found
}

func tiffExif(data []byte) []byte { return data }

// jpegExif finds the APP1 segment that begins with "Exif", before the pixels.
func jpegExif(data []byte) []byte {
	const app1, startOfScan = 0xe1, 0xda
	for p := 2; p+4 <= len(data) && data[p] == 0xff; {
		marker := data[p+1]
		if marker == 0xff { // a fill byte
			p++
			continue
		}
		end := p + 2 + int(binary.BigEndian.Uint16(data[p+2:]))
		if marker == startOfScan || end > len(data) || end < p+4 {
			break
		}
		if body := data[p+4 : end]; marker == app1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return body
		}
		p = end
	}
	return nil
}

func pngExif(data []byte) []byte {
	for p := 8; p+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[p:]))
		if n > len(data)-p-12 {
			break
		}
		if string(data[p+4:p+8]) == "eXIf" {
			return data[p+8 : p+8+n]
		}
		p += 12 + n
	}
	return nil
}

func webpExif(data []byte) []byte {
	for p := 12; p+8 <= len(data); {
		n := int(binary.LittleEndian.Uint32(data[p+4:]))
		if n > len(data)-p-8 {
			break
		}
		if string(data[p:p+4]) == "EXIF" {
			return data[p+8 : p+8+n]
		}
		p += 8 + n + n&1
	}
	return nil
}

// animated tells a WebP file whose extended header says that it moves.
func animated(data []byte) bool {
	return len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0
}

// A turn says where the pixels of a stored picture go in the upright one.
// Pixel (x, y) becomes number origin + x*right + y*down.
type turn struct {
	w, h                int // upright
	origin, right, down int
}

func turns(orientation, w, h int) turn {
	switch last := w*h - 1; orientation {
	case 2: // mirrored left to right
		return turn{w, h, w - 1, -1, w}
	case 3: // upside down
		return turn{w, h, last, -1, -w}
	case 4: // mirrored top to bottom
		return turn{w, h, last - (w - 1), 1, -w}
	case 5: // mirrored about the main diagonal
		return turn{h, w, 0, h, 1}
	case 6: // to be turned a quarter to the right
		return turn{h, w, h - 1, h, -1}
	case 7: // mirrored about the other diagonal
		return turn{h, w, last, -h, -1}
	case 8: // to be turned a quarter to the left
		return turn{h, w, last - (h - 1), -h, 1}
	}
	return turn{w, h, 0, 1, w}
}

// put writes line y of the stored picture.
func (t turn) put(pix, line []byte, y int) {
	to := 3 * (t.origin + y*t.down)
	if t.right == 1 {
		copy(pix[to:], line)
		return
	}
	for i := 0; i < len(line); i += 3 {
		copy(pix[to:to+3], line[i:i+3])
		to += 3 * t.right
	}
}
