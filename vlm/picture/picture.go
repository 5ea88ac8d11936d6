// Package picture turns the bytes of an image file into what the model sees:
// upright 8-bit RGB over white, its shorter side resized to S, the middle S×S
// cut out.
//
// It reads PNG, JPEG, GIF (the first frame), BMP, TIFF and WebP. Results equal
// those of Pillow byte for byte wherever the decoders themselves agree, that is
// for everything but the lossy formats.
package picture

import (
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// MaxPixels is the largest width times height that is decoded.
const MaxPixels = 64_000_000

// RGB is an upright picture: H lines of W pixels, three bytes a pixel.
type RGB struct {
	W, H int
	Pix  []byte // [H, W, 3]
}

// Size returns the width and the height in pixels.
func (p *RGB) Size() (w, h int) { return p.W, p.H }

// A format is one kind of image file.
type format struct {
	name   string
	magic  string // how a file begins; '?' is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	exif   func(data []byte) []byte // finds the TIFF block that may hold the orientation
	yuv    *yuv                     // how luma and chroma become RGB

	// bytes is the memory that decoding takes, the RGB included.
	bytes func(data []byte, c image.Config) int64

	// density is the most pixels that one byte of a whole file can stand for,
	// 0 where there is no such bound. It tells a header that promises more than
	// the file can hold before memory is taken for it.
	density int
}

var formats = []format{
	// Deflate packs at most 1032 bytes into one, of 8 one-bit pixels each.
	{"png", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode, pngExif, nil, pngMemory, 1032 * 8},
	// An 8×8 block takes at least one bit.
	{"jpeg", "\xff\xd8\xff", jpeg.DecodeConfig, jpeg.Decode, jpegExif, &fullRange, jpegMemory, 64 * 8},
	{"gif", "GIF8?a", gif.DecodeConfig, gif.Decode, nil, nil, plainMemory, 0},
	{"bmp", "BM", bmp.DecodeConfig, bmp.Decode, nil, nil, plainMemory, 8},
	{"tiff", "II*\x00", tiff.DecodeConfig, tiff.Decode, tiffExif, nil, tiffMemory, 0},
	{"tiff", "MM\x00*", tiff.DecodeConfig, tiff.Decode, tiffExif, nil, tiffMemory, 0},
	{"webp", "RIFF????WEBPVP8", webp.DecodeConfig, webp.Decode, webpExif, &limitedRange, webpMemory, 0},
}

// sniff finds the format by the first bytes, nil where none fits.
func sniff(data []byte) *format {
	for i := range formats {
		if matches(data, formats[i].magic) {
			return &formats[i]
		}
	}
	return nil
}

func matches(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

// A header is what is known of a picture before its pixels are read.
type header struct {
	*format
	w, h        int   // as stored, before turning
	orientation int   // EXIF's, 1 to 8
	bytes       int64 // to decode it
}

func readHeader(data []byte) (header, error) {
	if len(data) == 0 {
		return header{}, &FormatError{Reason: "no bytes"}
	}
	f := sniff(data)
	if f == nil {
		return header{}, &FormatError{Reason: "not a PNG, JPEG, GIF, BMP, TIFF or WebP file"}
	}
	if f.name == "webp" && animated(data) {
		return header{}, &UnsupportedError{f.name, "animation"}
	}
	c, err := f.config(bytes.NewReader(data))
	switch {
	case err != nil:
		return header{}, err
	case c.Width < 1 || c.Height < 1:
		return header{}, &FormatError{f.name, "no pixels"}
	case c.Width > MaxPixels/c.Height:
		return header{}, &SizeError{c.Width, c.Height}
	case f.density > 0 && c.Width*c.Height/f.density > len(data):
		return header{}, &FormatError{f.name, "the data ends too early"}
	case f.name == "jpeg" && tooManyScans(data, c):
		return header{}, &UnsupportedError{f.name, "so many scans"}
	}
	hd := header{format: f, w: c.Width, h: c.Height, orientation: 1, bytes: f.bytes(data, c)}
	if f.exif != nil {
		hd.orientation = orientation(f.exif(data))
	}
	if hd.orientation != 1 && f.yuv == nil { // the RGB cannot take the image's place
		hd.bytes += 3 * int64(c.Width) * int64(c.Height)
	}
	if hd.bytes > MaxBytes {
		return header{}, &MemoryError{c.Width, c.Height, hd.bytes}
	}
	return hd, nil
}

// DecodeConfig returns the upright size of a picture and the name of its
// format ("png", "jpeg", …) from its header alone. Errors are Decode's.
func DecodeConfig(data []byte) (w, h int, format string, err error) {
	defer oneLine(data, &err)
	hd, err := readHeader(data)
	if err != nil {
		return 0, 0, "", err
	}
	if hd.orientation >= 5 {
		hd.w, hd.h = hd.h, hd.w
	}
	return hd.w, hd.h, hd.name, nil
}

// Decode reads a whole image file. The picture is turned upright by its EXIF
// orientation, transparency is laid over white, and of 16-bit values the high
// byte is kept.
//
// The error is a *FormatError, an *UnsupportedError, a *SizeError for a picture of
// more than MaxPixels or a *MemoryError for one of more than MaxBytes; those two are
// refused by their headers.
func Decode(data []byte) (img *RGB, err error) {
	err = With(data, func(p *RGB) { img = p })
	return img, err
}

func decode(data []byte, hd header) (*RGB, error) {
	m, err := hd.decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return render(m, hd)
}

// render paints the decoded image, upright, on a white ground of the header's
// size; only a GIF's frame can be smaller than that.
func render(m image.Image, hd header) (*RGB, error) {
	frame := m.Bounds()
	if !frame.In(image.Rect(0, 0, hd.w, hd.h)) {
		return nil, &FormatError{hd.name, "pixels outside the picture"}
	}
	read := lines(m, hd.yuv)
	if read == nil {
		return nil, &UnsupportedError{hd.name, "colour model"}
	}
	t := turns(hd.orientation, hd.w, hd.h)
	out := &RGB{W: t.w, H: t.h}
	if own := pixels(m, 3*hd.w); own != nil && hd.orientation == 1 && frame == image.Rect(0, 0, hd.w, hd.h) {
		out.Pix = own[:3*hd.w*hd.h] // a line is read before it is written over
	} else {
		out.Pix = make([]byte, 3*hd.w*hd.h)
	}
	line := bytes.Repeat([]byte{255}, 3*hd.w)
	for y := range hd.h {
		if y == frame.Max.Y {
			line = bytes.Repeat([]byte{255}, 3*hd.w)
		}
		if y >= frame.Min.Y && y < frame.Max.Y {
			read(line[3*frame.Min.X:3*frame.Max.X], y)
		}
		t.put(out.Pix, line, y)
	}
	return out, nil
}

// pixels returns the bytes of an image whose lines are at least n long and which
// nobody needs once they are read; nil for others.
func pixels(m image.Image, n int) []byte {
	pix, stride := []byte(nil), 0
	switch m := m.(type) {
	case *image.NRGBA:
		pix, stride = m.Pix, m.Stride
	case *image.NRGBA64:
		pix, stride = m.Pix, m.Stride
	case *image.RGBA:
		pix, stride = m.Pix, m.Stride
	case *image.RGBA64:
		pix, stride = m.Pix, m.Stride
	case *image.CMYK:
		pix, stride = m.Pix, m.Stride
	}
	if stride < n {
		return nil
	}
	return pix
}
