package image

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// TIFF's photometric interpretations.
const (
	whiteIsZero = 0
	blackIsZero = 1
	photoRGB    = 2
	photoMap    = 3
	photoInk    = 5
	photoYCC    = 6
	photoLab    = 8
)

// A tiffImage is the layout of the pixels of the first directory.
type tiffImage struct {
	tiffDirectory
	w, h        int
	photo       int64
	compression int64
	bits        int
	format      int64 // 1 unsigned, 2 signed, 3 floating
	samples     int   // stored per pixel
	colours     int   // number of samples that are colours
	alpha       int64 // 0 none, 1 associated, 2 unassociated
	separate    bool  // planar: a plane per sample
	tiled       bool
	chunkW      int // a strip's or tile's size
	chunkH      int
	chromaX     int // pixels per chroma sample
	chromaY     int
}

// readTIFF reads the directory. The error names an unsupported feature.
func readTIFF(data []byte) (*tiffImage, error) {
	d := readDirectory(data)
	w, h := d.first(tagWidth, 0), d.first(tagLength, 0)
	if w < 1 || h < 1 || w > math.MaxInt32 || h > math.MaxInt32 {
		return nil, formatError("tiff", "no pixels")
	}
	t := &tiffImage{
		tiffDirectory: d, w: int(w), h: int(h), photo: d.first(tagPhotometric, 0), compression: d.first(tagCompression, 1),
		format: d.first(tagSampleFormat, 1), separate: d.first(tagPlanar, 1) == 2, chromaX: 1, chromaY: 1,
	}
	if t.compression == packJPEGOld {
		t.photo = photoYCC
	}
	if err := t.readSamples(); err != nil {
		return nil, err
	}
	if t.photo == photoYCC && t.compression != packJPEG && t.compression != packJPEGOld {
		t.chromaX, t.chromaY = int(d.first(tagChromaSampling, 2)), 2
		if d.count(tagChromaSampling) > 1 {
			t.chromaY = int(d.value(tagChromaSampling, 1))
		}
		if t.chromaX < 1 || t.chromaX > 4 || t.chromaY < 1 || t.chromaY > 4 || t.bits != 8 || t.samples != 3 {
			return nil, unsupportedError("tiff", "this form of YCbCr")
		}
		if t.separate && t.chromaX*t.chromaY > 1 {
			return nil, unsupportedError("tiff", "YCbCr in planes of several sizes")
		}
	}
	return t, t.readChunks()
}

// readSamples determines the samples of a pixel, as Pillow's TiffImagePlugin does.
func (t *tiffImage) readSamples() error {
	switch t.photo {
	case whiteIsZero, blackIsZero, photoMap:
		t.colours = 1
	case photoRGB, photoYCC, photoLab:
		t.colours = 3
	case photoInk:
		t.colours = 4
	default:
		return unsupportedError("tiff", photoName(t.photo))
	}
	missing := int64(1)
	if t.compression == packJPEGOld {
		missing = 3
	}
	samples := t.first(tagSamples, missing)
	if samples < 1 || samples > 32 {
		return unsupportedError("tiff", fmt.Sprintf("%d samples per pixel", samples))
	}
	t.samples, t.bits = int(samples), int(t.first(tagBits, 1))
	for i := 1; i < min(t.samples, t.count(tagBits)); i++ {
		if int(t.value(tagBits, i)) != t.bits {
			return unsupportedError("tiff", "samples of several sizes")
		}
	}
	if t.photo == photoYCC && t.samples == 1 { // only luma
		t.photo, t.colours = blackIsZero, 1
	}
	if t.samples < t.colours {
		return formatError("tiff", "fewer samples than colours")
	}
	if t.samples > t.colours {
		t.alpha = t.first(tagExtraSamples, 0)
		if t.count(tagExtraSamples) == 0 && t.photo == photoRGB && t.samples == 4 || t.alpha == 999 { // as CorelDRAW writes it
			t.alpha = 2
		}
		if t.alpha != 1 && t.alpha != 2 || t.colours == 4 {
			t.alpha = 0
		}
	}
	return t.checkBits()
}

func (t *tiffImage) checkBits() error {
	ok := false
	switch t.format {
	case 1, 2, 4:
		switch t.bits {
		case 1, 2, 4:
			ok = t.colours == 1
		case 8:
			ok = true
		case 12:
			ok = t.photo <= blackIsZero
		case 16, 32:
			ok = t.photo != photoMap && t.photo != photoLab && t.photo != photoYCC
		}
	case 3:
		ok = t.bits == 32 && t.photo <= photoRGB
	}
	if !ok {
		return unsupportedError("tiff", "this size or format of samples")
	}
	return nil
}

func photoName(photo int64) string {
	switch photo {
	case 4:
		return "a transparency mask"
	case 9, 10:
		return "this form of Lab"
	case 32803:
		return "raw data of a camera's sensor; develop it to PNG or JPEG first"
	case 32844, 32845:
		return "LogLuv"
	}
	return "colour model"
}

// readChunks determines the size of strips or tiles.
func (t *tiffImage) readChunks() error {
	t.tiled = t.count(tagTileOffsets) > 0 || t.count(tagTileWidth) > 0
	w, h := int64(t.w), t.first(tagRowsPerStrip, int64(t.h))
	if t.tiled {
		w, h = t.first(tagTileWidth, 0), t.first(tagTileLength, 0)
		if w < 1 || h < 1 || w > 1<<20 || h > 1<<20 {
			return formatError("tiff", "invalid tile size")
		}
	} else if h < 1 || h > int64(t.h) {
		h = int64(t.h)
	}
	t.chunkW, t.chunkH = int(w), int(h)
	return nil
}

// stored returns the number of samples per pixel in a chunk.
func (t *tiffImage) stored() int {
	if t.separate {
		return 1
	}
	return t.samples
}

// kept returns the number of values per pixel that are decoded: colours and alpha.
func (t *tiffImage) kept() int {
	if t.alpha != 0 {
		return t.colours + 1
	}
	return t.colours
}

// chunkBytes returns the decompressed size of a line and of a chunk.
func (t *tiffImage) chunkBytes() (line, chunk int64) {
	if t.chromaX*t.chromaY > 1 {
		unit := int64(t.chromaX*t.chromaY + 2)
		line = unit * int64(ceilDiv(t.chunkW, t.chromaX)) // covers chromaY lines of pixels
		return line, line * int64(ceilDiv(t.chunkH, t.chromaY))
	}
	line = (int64(t.chunkW)*int64(t.stored())*int64(t.bits) + 7) / 8
	return line, line * int64(t.chunkH)
}

func tiffConfig(data []byte) (image.Config, error) {
	t, err := readTIFF(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{ColorModel: color.NRGBAModel, Width: t.w, Height: t.h}, nil
}

// tiffMemory adds the kept values of all pixels and one decompressed chunk.
func tiffMemory(data []byte, c image.Config) int64 {
	t, err := readTIFF(data)
	if err != nil {
		return 0
	}
	_, chunk := t.chunkBytes()
	if chunk > MaxBytes {
		return MaxBytes + 1
	}
	if t.compression == packJPEG || t.compression == packJPEGOld {
		chunk = int64(t.chunkW) * int64(t.chunkH) * 4 * 4 // whole MCUs, and coefficients if it is progressive
	}
	return rendered(c, int64(t.kept())) + chunk
}

func decodeTIFF(data []byte, hd header) (source, error) {
	t, err := readTIFF(data)
	if err != nil {
		return source{}, err
	}
	pix := make([]byte, t.w*t.h*t.kept())
	if err := t.readPixels(pix); err != nil {
		return source{}, err
	}
	s := source{line: t.lines(pix)}
	if t.kept() >= 3 {
		s.reusable = pix
	}
	return s, nil
}

// readPixels decodes all chunks into pix, [h, w, kept].
func (t *tiffImage) readPixels(pix []byte) error {
	across, down := ceilDiv(t.w, t.chunkW), ceilDiv(t.h, t.chunkH)
	planes := 1
	if t.separate {
		planes = t.kept()
	}
	_, size := t.chunkBytes()
	const slack = 256 << 20 // a few chunks may be larger than the image
	if int64(across*down*planes)*size > 64*int64(len(pix))+slack {
		return formatError("tiff", "too much data for its pixels")
	}
	u, err := newUnpacker(t)
	if err != nil {
		return err
	}
	for i := range planes * down * across {
		plane, row, column := i/(down*across), i/across%down, i%across
		part, err := t.chunk(i)
		if err != nil {
			return err
		}
		area := image.Rect(column*t.chunkW, row*t.chunkH, (column+1)*t.chunkW, (row+1)*t.chunkH)
		if err := u.unpack(part, area); err != nil {
			return err
		}
		inside := area.Intersect(image.Rect(0, 0, t.w, t.h))
		for y := inside.Min.Y; y < inside.Max.Y; y++ {
			u.line(pix[(y*t.w+inside.Min.X)*t.kept():][:inside.Dx()*t.kept()], y-area.Min.Y, plane)
		}
	}
	return nil
}

// chunk returns the compressed data of a strip or tile.
func (t *tiffImage) chunk(i int) ([]byte, error) {
	offsets, counts := uint16(tagStripOffsets), uint16(tagStripCounts)
	if t.tiled && t.count(tagTileOffsets) > 0 {
		offsets, counts = tagTileOffsets, tagTileCounts
	}
	at := t.value(offsets, i)
	if i >= t.count(offsets) || at < 0 || at > int64(len(t.data)) {
		return nil, formatError("tiff", "unexpected end of data")
	}
	part := t.data[at:]
	// Without compression, byte counts are often wrong, and Pillow ignores them.
	if n := t.value(counts, i); t.compression != packNone && n > 0 && n < int64(len(part)) {
		part = part[:n]
	}
	return part, nil
}

func tiffOrientation(data []byte) int {
	d := readDirectory(data)
	return upright(d.first(tagOrientation, 0), d.bytes(tagXMP))
}
