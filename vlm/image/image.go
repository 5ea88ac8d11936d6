// Package image decodes image files to upright 8-bit RGB composited over white, and
// preprocesses them for the model: the shorter side resized to S, then an S×S centre crop.
//
// Results are byte for byte those of Pillow, including JPEG and WebP. Exceptions are AVIF,
// whose decoder upsamples chroma differently, by some levels on average at coloured edges,
// and Lab, which differs in rounding. Readable lists the formats. Of animations and
// multi-page files, the first image is decoded. 12- and 16-bit values are reduced to their
// high 8 bits, 32-bit and floating-point values are clamped to 0 to 255.
package image

import (
	"image"
)

// MaxPixels is the largest width times height that is decoded.
const MaxPixels = 64_000_000

// RGB is an upright image: H lines of W pixels, three bytes per pixel.
type RGB struct {
	W, H int
	Pix  []byte // [H, W, 3]
}

// A source is a decoded image that is read line by line.
type source struct {
	line     func(dst []byte, y int) // 3*width bytes, composited over white
	reusable []byte                  // the image's memory, if lines may be overwritten once read; else nil
	free     func()                  // if not nil, to be called when no more lines are read
}

// A header is what is known of an image before its pixels are decoded.
type header struct {
	*format
	w, h        int   // as stored
	orientation int   // 1 to 8
	bytes       int64 // memory to decode it
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
		return header{}, &FormatError{f.name, "unexpected end of data"}
	case f.name == "jpeg" && tooManyScans(data, c):
		return header{}, &UnsupportedError{f.name, "too many scans"}
	}
	hd := header{format: f, w: c.Width, h: c.Height, orientation: 1, bytes: f.bytes(data, c)}
	if f.upright != nil {
		hd.orientation = f.upright(data)
	}
	if hd.orientation != 1 && f.inPlace { // the RGB cannot reuse the image's memory
		hd.bytes += 3 * int64(c.Width) * int64(c.Height)
	}
	if hd.bytes > MaxBytes {
		return header{}, &MemoryError{c.Width, c.Height, hd.bytes}
	}
	return hd, nil
}

// DecodeConfig returns the upright size of an image and its format ("png", "jpeg", …) from
// its header. Errors are those of Decode.
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

// Decode decodes an image file. The image is rotated upright by its EXIF or XMP orientation
// and composited over white.
//
// The error is a *FormatError, an *UnsupportedError, a *SizeError for an image of more than
// MaxPixels, or a *MemoryError for one that takes more than MaxBytes. The last two are
// returned without decoding.
func Decode(data []byte) (img *RGB, err error) {
	err = With(data, func(p *RGB) { img = p })
	return img, err
}

// Prepare is Preprocess of Decode, without the image at its full size in RGB. It returns
// the upright size as well. Errors are those of Decode; pix is nil for a size below 1.
func Prepare(data []byte, size int) (pix []byte, w, h int, err error) {
	err = withSource(data, func(s source, hd header) {
		if hd.orientation != 1 || size < 1 {
			img := render(s, hd)
			pix, w, h = Preprocess(img, size), img.W, img.H
			return
		}
		w, h = hd.w, hd.h
		pix = preprocess(w, h, size, func(buffer []byte, y int) []byte {
			s.line(buffer[:3*w], y)
			return buffer
		})
	})
	if err != nil {
		return nil, 0, 0, err
	}
	return pix, w, h, nil
}

// render returns the decoded image upright.
func render(s source, hd header) *RGB {
	t := newTransform(hd.orientation, hd.w, hd.h)
	out := &RGB{W: t.w, H: t.h}
	if hd.orientation == 1 && len(s.reusable) >= 3*hd.w*hd.h {
		out.Pix = s.reusable[:3*hd.w*hd.h] // a line is read before it is overwritten
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

// fromImage returns the source of a decoded image, which must have the header's size.
func fromImage(m image.Image, hd header) (source, error) {
	if m.Bounds() != image.Rect(0, 0, hd.w, hd.h) {
		return source{}, formatError(hd.name, "the decoded size differs from the header")
	}
	line := lines(m)
	if line == nil {
		return source{}, unsupportedError(hd.name, "colour model")
	}
	return source{line: line, reusable: pixels(m, 3*hd.w)}, nil
}

// pixels returns the memory of an image whose lines have at least n bytes; nil for other
// images.
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
