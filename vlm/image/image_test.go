package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// quarters returns an image with another colour in each quarter, which shows a wrong
// orientation.
func quarters(w, h int) *image.NRGBA {
	colours := [2][2]color.NRGBA{
		{{214, 40, 40, 255}, {44, 160, 70, 255}},
		{{40, 80, 200, 255}, {240, 205, 50, 255}},
	}
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, colours[2*y/h][2*x/w])
		}
	}
	return m
}

// at returns the pixel in the middle of a quarter.
func (p *RGB) at(right, down int) [3]byte {
	x, y := (1+2*right)*p.W/4, (1+2*down)*p.H/4
	return [3]byte(p.Pix[3*(y*p.W+x):])
}

// far returns the largest difference from the colours of quarters.
func far(p *RGB) int {
	want := quarters(2, 2)
	worst := 0
	for i := range 4 {
		got := p.at(i%2, i/2)
		c := want.NRGBAAt(i%2, i/2)
		for k, v := range [3]byte{c.R, c.G, c.B} {
			worst = max(worst, int(got[k])-int(v), int(v)-int(got[k]))
		}
	}
	return worst
}

func encodeWith(t testing.TB, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngBytes(t testing.TB, m image.Image) []byte {
	return encodeWith(t, func(b *bytes.Buffer) error { return png.Encode(b, m) })
}

func jpegBytes(t testing.TB, m image.Image) []byte {
	return encodeWith(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, m, &jpeg.Options{Quality: 95}) })
}

func TestDecodeFormats(t *testing.T) {
	m := quarters(64, 48)
	tests := []struct {
		format string
		data   []byte
		off    int // tolerance, of 255; JPEG is lossy
	}{
		{"png", pngBytes(t, m), 0},
		{"jpeg", jpegBytes(t, m), 4},
		{"bmp", encodeWith(t, func(b *bytes.Buffer) error { return bmp.Encode(b, m) }), 0},
		{"tiff", encodeWith(t, func(b *bytes.Buffer) error {
			return tiff.Encode(b, m, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
		}), 0},
		{"gif", encodeWith(t, func(b *bytes.Buffer) error { return gif.Encode(b, paletted(m), nil) }), 0},
	}
	for _, test := range tests {
		t.Run(test.format, func(t *testing.T) {
			p := mustDecode(t, test.data)
			if p.W != 64 || p.H != 48 || far(p) > test.off {
				t.Errorf("%dx%d, colours off by %d, want 64x48 and at most %d", p.W, p.H, far(p), test.off)
			}
			w, h, format, err := DecodeConfig(test.data)
			if w != 64 || h != 48 || format != test.format || err != nil {
				t.Errorf("DecodeConfig = %d, %d, %q, %v", w, h, format, err)
			}
		})
	}
}

// paletted returns m with a palette of its colours.
func paletted(m *image.NRGBA) *image.Paletted {
	p := image.NewPaletted(m.Rect, nil)
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c := m.NRGBAAt(x, y)
			if len(p.Palette) == 0 || p.Palette[p.Palette.Index(c)] != color.Color(c) {
				p.Palette = append(p.Palette, c)
			}
			p.SetColorIndex(x, y, uint8(p.Palette.Index(c)))
		}
	}
	return p
}

// exifBlock returns a TIFF block with the orientation as its only entry.
func exifBlock(order binary.AppendByteOrder, orientation int) []byte {
	b := []byte("II")
	if order.String() == binary.BigEndian.String() {
		b = []byte("MM")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, tagOrientation)
	b = order.AppendUint16(b, 3) // SHORT
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, uint16(orientation))
	return append(b, 0, 0, 0, 0, 0, 0)
}

func jpegWithExif(data, block []byte) []byte {
	body := append([]byte("Exif\x00\x00"), block...)
	out := append([]byte{}, data[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(body)+2))
	return append(append(out, body...), data[2:]...)
}

// pngWithChunk inserts a chunk after the header.
func pngWithChunk(data []byte, kind string, body []byte) []byte {
	const afterHeader = 8 + 25
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(append(chunk, kind...), body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	out := append([]byte{}, data[:afterHeader]...)
	return append(append(out, chunk...), data[afterHeader:]...)
}

// stored transforms m so that a reader that applies the orientation gets m. It is written
// pixel by pixel from the text of the EXIF standard.
func stored(m *image.NRGBA, orientation int) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewNRGBA(m.Rect)
	if orientation >= 5 {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			X, Y := x, y
			switch orientation {
			case 2: // row 0 is the top, column 0 the right
				X, Y = w-1-x, y
			case 3: // the bottom, the right
				X, Y = w-1-x, h-1-y
			case 4: // the bottom, the left
				X, Y = x, h-1-y
			case 5: // the left, the top
				X, Y = y, x
			case 6: // the right, the top
				X, Y = y, w-1-x
			case 7: // the right, the bottom
				X, Y = h-1-y, w-1-x
			case 8: // the left, the bottom
				X, Y = h-1-y, x
			}
			out.SetNRGBA(X, Y, m.NRGBAAt(x, y))
		}
	}
	return out
}

func TestOrientation(t *testing.T) {
	m := quarters(32, 48)
	want := mustDecode(t, pngBytes(t, m)).Pix
	for o := 1; o <= 8; o++ {
		s := stored(m, o)
		p := mustDecode(t, pngWithChunk(pngBytes(t, s), "eXIf", exifBlock(binary.BigEndian, o)))
		if !bytes.Equal(p.Pix, want) {
			t.Errorf("PNG, orientation %d: not upright", o)
		}
		data := jpegWithExif(jpegBytes(t, s), exifBlock(binary.LittleEndian, o))
		if p := mustDecode(t, data); p.W != 32 || p.H != 48 || far(p) > 4 { // JPEG is lossy
			t.Errorf("JPEG, orientation %d: %dx%d, colours off by %d", o, p.W, p.H, far(p))
		}
		if w, h, _, err := DecodeConfig(data); w != 32 || h != 48 || err != nil {
			t.Errorf("JPEG, orientation %d: DecodeConfig = %d, %d, %v", o, w, h, err)
		}
	}
}

// A broken EXIF block is ignored.
func TestOrientationBroken(t *testing.T) {
	whole := exifBlock(binary.LittleEndian, 6)
	for _, block := range [][]byte{nil, whole[:7], whole[:9], whole[:16], exifBlock(binary.BigEndian, 9), bytes.Repeat([]byte{255}, 40)} {
		if got := exifOrXMP(block, nil); got != 1 {
			t.Errorf("exifOrXMP(%x) = %d, want 1", block, got)
		}
	}
}

// TestLines compares every pixel type with Go's color models.
func TestLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rect := image.Rect(0, 0, 9, 7)
	fill := func(planes ...[]byte) {
		for _, p := range planes {
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		}
	}
	gray, gray16 := image.NewGray(rect), image.NewGray16(rect)
	fill(gray.Pix, gray16.Pix)
	nrgba, nrgba64 := image.NewNRGBA(rect), image.NewNRGBA64(rect)
	fill(nrgba.Pix, nrgba64.Pix)
	cmyk := image.NewCMYK(rect)
	fill(cmyk.Pix)
	rgba, rgba64 := image.NewRGBA(rect), image.NewRGBA64(rect)
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			rgba.Set(x, y, nrgba.At(x, y))
			rgba64.Set(x, y, nrgba64.At(x, y))
		}
	}
	tests := []struct {
		name  string
		image image.Image
		off   int // rounding: premultiplied values and Go's CMYK are rounded twice, 16 bits cut
	}{
		{"gray", gray, 0}, {"gray16", gray16, 0}, {"nrgba", nrgba, 1}, {"nrgba64", nrgba64, 2},
		{"rgba", rgba, 1}, {"rgba64", rgba64, 2}, {"cmyk", cmyk, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			read := lines(test.image)
			got := make([]byte, 3*rect.Dx())
			for y := rect.Min.Y; y < rect.Max.Y; y++ {
				read(got, y)
				for x := rect.Min.X; x < rect.Max.X; x++ {
					r, g, b, a := test.image.At(x, y).RGBA()
					for k, v := range []uint32{r, g, b} {
						want := int(v+0xffff-a) >> 8
						if d := int(got[3*(x-rect.Min.X)+k]) - want; d > test.off || d < -test.off {
							t.Fatalf("pixel %d,%d channel %d: off by %d, want at most %d", x, y, k, d, test.off)
						}
					}
				}
			}
		})
	}
}

// bigPNG returns a PNG with a header of w×h pixels and no data.
func bigPNG(w, h uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, w)
	body = binary.BigEndian.AppendUint32(body, h)
	body = append(body, 16, 6, 0, 0, 0) // 16-bit RGBA
	empty := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 25)...)
	return append(pngWithChunk(empty, "IHDR", body)[:8], pngWithChunk(empty, "IHDR", body)[33:58]...)
}

// bigJPEG returns a small JPEG with another size in its header.
func bigJPEG(t testing.TB, w, h uint16) []byte {
	data := jpegBytes(t, quarters(16, 16))
	frame := bytes.Index(data, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(data[frame+5:], h)
	binary.BigEndian.PutUint16(data[frame+7:], w)
	return data
}

func TestDecodeErrors(t *testing.T) {
	whole := pngBytes(t, quarters(64, 48))
	var format *FormatError
	var size *SizeError
	tests := []struct {
		name   string
		data   []byte
		target any
		want   string
	}{
		{"empty", nil, &format, "no bytes"},
		{"text", []byte("<!DOCTYPE html>\n<html>"), &format, "not a PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF, ICO, PPM, PGM, PBM, QOI or TGA file"},
		{"truncated", whole[:len(whole)/2], &format, "png: not enough pixel data"},
		{"magic only", whole[:8], &format, "png: unexpected end of data"},
		{"bomb", bigPNG(100_000, 100_000), &size, "100000x100000 is more than 64 million pixels"},
		{"PNG with a wrong size", bigPNG(8000, 8000), &format, "png: unexpected end of data"},
		{"JPEG with a wrong size", bigJPEG(t, 8000, 8000), &format, "jpeg: unexpected end of data"},
		{"large JPEG", bigJPEG(t, 65000, 65000), &size, "65000x65000 is more than 64 million pixels"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			img, err := Decode(test.data)
			runtime.ReadMemStats(&after)
			if img != nil || err == nil || err.Error() != test.want || !errors.As(err, test.target) {
				t.Errorf("%v, %T %v, want %T %q", img != nil, err, err, test.target, test.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("allocated %d bytes", used)
			}
		})
	}
}

// Megabytes of text beside the pixels are skipped.
func TestLargeText(t *testing.T) {
	data := pngBytes(t, quarters(64, 48))
	for _, kind := range []string{"zTXt", "iTXt"} {
		p := mustDecode(t, pngWithChunk(data, kind, []byte(strings.Repeat("x", 3_000_000))))
		if far(p) != 0 {
			t.Errorf("%s: colours off by %d", kind, far(p))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, form := range readForms(f) {
		f.Add(form.File)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, h, _, configErr := DecodeConfig(data)
		if configErr == nil && w*h > 1<<20 {
			return // too slow
		}
		p, err := Decode(data)
		switch {
		case err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), panicMessage)):
			t.Errorf("not an error in one line: %q", err)
		case err == nil && (configErr != nil || p.W != w || p.H != h || len(p.Pix) != 3*w*h):
			t.Errorf("%dx%d with %d bytes, DecodeConfig: %dx%d, %v", p.W, p.H, len(p.Pix), w, h, configErr)
		}
	})
}
