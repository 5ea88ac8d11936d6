package image

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"math/bits"
)

// Values of BMP's compression field.
const (
	bmpNone   = 0
	bmpRLE8   = 1
	bmpRLE4   = 2
	bmpFields = 3
)

// A bitmap is the header of a BMP file, or of a BMP without file header in an icon. Like
// Pillow, it accepts OS/2 headers and ignores irrelevant errors.
type bitmap struct {
	data        []byte
	w, h        int
	topDown     bool
	bits        int
	compression uint32
	masks       [4]uint32 // red, green, blue, alpha; of 16 bits and more
	palette     color.Palette
	pixels      int // offset of the pixels
}

// readBitmap reads the header at an offset of data. pixels is the offset of the pixels in
// the file header, or 0 if there is no file header.
func readBitmap(data []byte, at, pixels int) (*bitmap, error) {
	le := binary.LittleEndian
	if at < 0 || at > len(data)-12 {
		return nil, io.ErrUnexpectedEOF
	}
	size := int(le.Uint32(data[at:]))
	b := &bitmap{data: data}
	entry, colours := 4, uint32(0)
	switch size {
	case 12: // OS/2
		b.w, b.h, b.bits = int(le.Uint16(data[at+4:])), int(le.Uint16(data[at+6:])), int(le.Uint16(data[at+10:]))
		entry = 3
	case 16, 40, 52, 56, 64, 108, 124:
		if len(data) < at+size {
			return nil, io.ErrUnexpectedEOF
		}
		h := le.Uint32(data[at+8:])
		if b.topDown = h>>24 == 255; b.topDown {
			h = -h
		}
		w := le.Uint32(data[at+4:])
		if w > math.MaxInt32 || h > math.MaxInt32 {
			return nil, formatError("bmp", "no pixels")
		}
		b.w, b.h, b.bits = int(w), int(h), int(le.Uint16(data[at+14:]))
		if size > 16 {
			b.compression, colours = le.Uint32(data[at+16:]), le.Uint32(data[at+32:])
		}
	default:
		return nil, unsupportedError("bmp", fmt.Sprintf("a header of %d bytes", size))
	}
	end := at + size
	if err := b.readMasks(at, size, &end); err != nil {
		return nil, err
	}
	if b.bits <= 8 {
		if colours == 0 || colours > 1<<16 {
			colours = 1 << b.bits
		}
		if pixels == at+size { // the offset ignores the palette
			pixels += entry * int(colours)
		}
		for i := 0; i < int(colours) && i < 256 && len(data) >= end+entry*i+3; i++ {
			p := data[end+entry*i:]
			b.palette = append(b.palette, color.NRGBA{p[2], p[1], p[0], 255})
		}
		end += entry * int(colours)
	}
	b.pixels = end
	if pixels > 0 {
		b.pixels = pixels
	}
	return b, nil
}

// readMasks checks compression and depth, and reads the channels' bit masks. It moves end
// past masks that follow the header.
func (b *bitmap) readMasks(at, size int, end *int) error {
	switch b.bits {
	case 1, 4, 8:
		if b.compression == bmpNone || b.compression == bmpRLE8 && b.bits == 8 || b.compression == bmpRLE4 && b.bits == 4 {
			return nil
		}
		return unsupportedError("bmp", compressionName(b.compression, b.bits))
	case 16:
		b.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
	case 24, 32:
		b.masks = [4]uint32{0xff0000, 0xff00, 0xff}
	default:
		return unsupportedError("bmp", fmt.Sprintf("%d bits per pixel", b.bits))
	}
	if b.compression == bmpNone {
		return nil
	}
	if b.compression != bmpFields {
		return unsupportedError("bmp", compressionName(b.compression, b.bits))
	}
	n := 3
	if size >= 56 {
		n = 4
	}
	if size < 52 {
		*end += 12
	}
	if len(b.data) < at+40+4*n {
		return io.ErrUnexpectedEOF
	}
	var masks [4]uint32
	for i := range n {
		masks[i] = binary.LittleEndian.Uint32(b.data[at+40+4*i:])
	}
	if masks == [4]uint32{} && b.bits == 32 { // as in Pillow
		masks = [4]uint32{0xff0000, 0xff00, 0xff, 0xff000000}
	}
	if masks[0] == 0 && masks[1] == 0 && masks[2] == 0 {
		return formatError("bmp", "no bit fields")
	}
	b.masks = masks
	return nil
}

// compressionName describes an unsupported compression.
func compressionName(compression uint32, bits int) string {
	switch {
	case compression == 4 && bits != 24, compression == 5:
		return "embedded JPEG or PNG"
	case compression == bmpFields:
		return "fax compression"
	}
	return fmt.Sprintf("compression %d", compression)
}

// stride returns the bytes of an uncompressed line.
func (b *bitmap) stride() int { return (b.w*b.bits + 31) / 32 * 4 }

func (b *bitmap) config() image.Config {
	c := image.Config{ColorModel: color.NRGBAModel, Width: b.w, Height: b.h}
	if b.bits <= 8 {
		c.ColorModel = b.palette
	}
	return c
}

// indices reads pixels that are palette indices.
func (b *bitmap) indices() (*image.Paletted, error) {
	m := image.NewPaletted(image.Rect(0, 0, b.w, b.h), b.palette)
	if b.compression != bmpNone {
		return m, b.unpackRuns(m)
	}
	for y := range b.h {
		src, err := b.line(y)
		if err != nil {
			return nil, err
		}
		dst := m.Pix[y*m.Stride:][:b.w]
		if b.bits == 8 {
			copy(dst, src)
			continue
		}
		for x := range dst {
			dst[x] = src[x*b.bits/8] >> (8 - b.bits - x*b.bits%8) & (1<<b.bits - 1)
		}
	}
	return m, nil
}

// line returns the stored bytes of line y, counted from the top.
func (b *bitmap) line(y int) ([]byte, error) {
	if !b.topDown {
		y = b.h - 1 - y
	}
	at := b.pixels + y*b.stride()
	if at < 0 || at+(b.w*b.bits+7)/8 > len(b.data) {
		return nil, io.ErrUnexpectedEOF
	}
	return b.data[at:min(len(b.data), at+b.stride())], nil
}

// colours reads pixels without a palette.
func (b *bitmap) colours() (*image.NRGBA, error) {
	m := image.NewNRGBA(image.Rect(0, 0, b.w, b.h))
	var fields [4]bitField
	for i, mask := range b.masks {
		fields[i] = newBitField(mask)
	}
	size := b.bits / 8
	for y := range b.h {
		src, err := b.line(y)
		if err != nil {
			return nil, err
		}
		dst := m.Pix[y*m.Stride:][:4*b.w]
		for x := range b.w {
			v := uint32(0)
			for k := range size {
				v |= uint32(src[x*size+k]) << (8 * k)
			}
			for k := range 3 {
				dst[4*x+k] = fields[k].value(v, 0)
			}
			dst[4*x+3] = fields[3].value(v, 255)
		}
	}
	return m, nil
}

// A bitField is a channel's bits in a pixel.
type bitField struct{ mask, shift, max uint32 }

func newBitField(mask uint32) bitField {
	shift := uint32(bits.TrailingZeros32(mask)) & 31
	return bitField{mask, shift, mask >> shift}
}

// value scales the field to 8 bits, rounding down as Pillow does. It returns missing if the
// field has no bits.
func (f bitField) value(pixel uint32, missing byte) byte {
	if f.mask == 0 {
		return missing
	}
	return byte(uint64(pixel&f.mask>>f.shift) * 255 / uint64(f.max))
}

func bmpHeader(data []byte) (*bitmap, error) {
	if len(data) < 14 {
		return nil, io.ErrUnexpectedEOF
	}
	return readBitmap(data, 14, int(binary.LittleEndian.Uint32(data[10:])))
}

func bmpConfig(data []byte) (image.Config, error) {
	b, err := bmpHeader(data)
	if err != nil {
		return image.Config{}, err
	}
	if b.compression == bmpNone && b.h > 0 && b.w > 0 && (b.h > len(data) || b.w > 64<<20 || b.pixels+(b.h-1)*b.stride() > len(data)) {
		return image.Config{Width: b.w, Height: b.h}, errorOfSize(b.w, b.h)
	}
	return b.config(), nil
}

// errorOfSize returns the error for a file that is smaller than its pixels.
func errorOfSize(w, h int) error {
	if w > MaxPixels/h {
		return &SizeError{w, h}
	}
	return io.ErrUnexpectedEOF
}

func decodeBMP(data []byte, hd header) (source, error) {
	b, err := bmpHeader(data)
	if err != nil {
		return source{}, err
	}
	return b.source(hd)
}

func (b *bitmap) source(hd header) (source, error) {
	m, err := b.image()
	if err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

func (b *bitmap) image() (image.Image, error) {
	if b.bits <= 8 {
		return b.indices()
	}
	return b.colours()
}

// isDIB reports whether data is a BMP without file header.
func isDIB(data []byte) bool {
	if len(data) < 40 {
		return false
	}
	b, err := readBitmap(data, 0, 0)
	return err == nil && data[4]|data[5]|data[6]|data[7] != 0 && binary.LittleEndian.Uint16(data[12:]) == 1 && b.w > 0 && b.h > 0
}

func dibConfig(data []byte) (image.Config, error) {
	b, err := readBitmap(data, 0, 0)
	if err != nil {
		return image.Config{}, err
	}
	return b.config(), nil
}

func decodeDIB(data []byte, hd header) (source, error) {
	b, err := readBitmap(data, 0, 0)
	if err != nil {
		return source{}, err
	}
	return b.source(hd)
}
