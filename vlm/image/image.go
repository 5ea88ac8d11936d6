// Package picture turns the bytes of an image file into what the model sees:
// upright 8-bit RGB over white, its shorter side resized to S, the middle S×S
// cut out.
//
// Results equal those of Pillow byte for byte, JPEG's and WebP's too. AVIF's differ: its
// decoder stretches chroma in another way, by some levels on average where colours have
// edges; Lab's differ in rounding. Readable says what is read; of what moves or has pages it
// is the first picture. Of 12 and 16 bits the high 8 are kept, of 32 and of floating
// point what lies between 0 and 255.
package image

import (
	"image"
)

// MaxPixels is the largest width times height that is decoded.
const MaxPixels = 64_000_000

// RGB is an upright picture: H lines of W pixels, three bytes a pixel.
type RGB struct {
	W, H int
	Pix  []byte // [H, W, 3]
}

// A source is a decoded picture that is read line by line.
type source struct {
	line     func(dst []byte, y int) // 3*width bytes, over white
	reusable []byte                  // memory that may be written over once a line is read; nil where there is none
}

// A header is what is known of a picture before its pixels are read.
type header struct {
	*format
	w, h        int   // as stored, before turning
	orientation int   // 1 to 8
	bytes       int64 // to decode it
}

func readHeader(data []byte) (header, error) {
	if len(data) == 0 {
		return header{}, &FormatError{Reason: "no bytes"}
	}
	f := sniff(data)
	if f == nil {
		return header{}, unknownFormatError(data)
	}
	c, err := f.config(data)
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
	if f.upright != nil {
		hd.orientation = f.upright(data)
	}
	if hd.orientation != 1 && f.inPlace { // the RGB cannot take the image's place
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
	defer normalizeError(data, &err)
	hd, err := readHeader(data)
	if err != nil {
		return 0, 0, "", err
	}
	if hd.orientation >= 5 {
		hd.w, hd.h = hd.h, hd.w
	}
	return hd.w, hd.h, hd.name, nil
}

// Decode reads a whole image file. The picture is turned upright by its EXIF or
// XMP orientation, transparency is laid over white, and of 16-bit values the high
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
	s, err := hd.decode(data, hd)
	if err != nil {
		return nil, err
	}
	return render(s, hd), nil
}

// render paints the decoded picture upright.
func render(s source, hd header) *RGB {
	t := newTransform(hd.orientation, hd.w, hd.h)
	out := &RGB{W: t.w, H: t.h}
	if hd.orientation == 1 && len(s.reusable) >= 3*hd.w*hd.h {
		out.Pix = s.reusable[:3*hd.w*hd.h] // a line is read before it is written over
	} else {
		out.Pix = make([]byte, 3*hd.w*hd.h)
	}
	line := make([]byte, 3*hd.w)
	for y := range hd.h {
		s.line(line, y)
		t.put(out.Pix, line, y)
	}
	return out
}

// fromImage makes a source of an image as large as the header says.
func fromImage(m image.Image, hd header) (source, error) {
	if m.Bounds() != image.Rect(0, 0, hd.w, hd.h) {
		return source{}, formatError(hd.name, "pixels of another size than the header's")
	}
	line := lines(m)
	if line == nil {
		return source{}, unsupportedError(hd.name, "colour model")
	}
	return source{line, pixels(m, 3*hd.w)}, nil
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
