package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The error for an unsupported format names it and suggests what to do.
func TestUnsupportedFormats(t *testing.T) {
	convert := ": not supported; convert it to PNG or JPEG"
	tests := []struct{ name, data, want string }{
		{"JPEG 2000", "\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image" + convert},
		{"JPEG 2000 stream", "\xff\x4f\xff\x51\x00\x2f", "a JPEG 2000 image" + convert},
		{"JPEG XL", "\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image" + convert},
		{"JPEG XL stream", "\xff\x0a\xfa", "a JPEG XL image" + convert},
		{"HEIC", "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1", "a HEIC image" + convert},
		{"MP4", "\x00\x00\x00\x18ftypisom", "an MP4 video" + convert},
		{"WebM", "\x1aE\xdf\xa3\x01", "a Matroska or WebM video" + convert},
		{"AVI", "RIFF\x00\x00\x00\x00AVI LIST", "an AVI video" + convert},
		{"PDF", "%PDF-1.7", "a PDF document" + convert},
		{"SVG", "<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "an SVG drawing" + convert},
		{"SVG with a byte order mark", "\xef\xbb\xbf <svg>", "an SVG drawing" + convert},
		{"Photoshop", "8BPS\x00\x01", "a Photoshop image" + convert},
		{"DDS", "DDS |\x00\x00\x00", "a DDS texture" + convert},
		{"EMF", "\x01\x00\x00\x00" + strings.Repeat("\x00", 36) + " EMF", "an EMF drawing" + convert},
		{"DICOM", strings.Repeat("\x00", 128) + "DICM\x02", "a DICOM image" + convert},
		{"XBM", "#define a_width 8\n", "an XBM image" + convert},
		{"raw", "IIU\x00\x18\x00\x00\x00", "a camera raw image" + convert},
		{"Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:", "a Git LFS pointer, not the image; fetch it with git lfs pull"},
		{"zeros", strings.Repeat("\x00", 64), "not an image: it starts with zeros"},
		{"text", "#define a 8\n", "not a PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF, ICO, PPM, PGM, PBM, QOI or TGA file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Decode([]byte(test.data)); err == nil || err.Error() != test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// formFile returns the file of a form.
func formFile(t *testing.T, name string) []byte {
	t.Helper()
	for _, f := range readForms(t) {
		if f.Name == name {
			return bytes.Clone(f.File)
		}
	}
	t.Fatalf("no form %s", name)
	return nil
}

// Unsupported features and damage have an error that names them.
func TestUnsupportedFeatures(t *testing.T) {
	with := func(name string, change func([]byte) []byte) []byte { return change(formFile(t, name)) }
	put := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	frame := func(marker byte) func([]byte) []byte {
		return func(b []byte) []byte { b[bytes.Index(b, []byte{0xff, 0xc0})+1] = marker; return b }
	}
	tag := func(number, value uint16) func([]byte) []byte {
		return func(b []byte) []byte {
			entry := bytes.Index(b, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, number), 3), 1))
			binary.LittleEndian.PutUint16(b[entry+8:], value)
			return b
		}
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"JPEG, arithmetic", with("jpeg/444", frame(0xc9)), "jpeg: not supported: arithmetic coding"},
		{"JPEG, lossless", with("jpeg/444", frame(0xc3)), "jpeg: not supported: lossless coding"},
		{"JPEG, cut", with("jpeg/444", cut(60)), "jpeg: unexpected end of data"},
		{"JPEG, progressive, cut", with("jpeg/420 progressive", cut(60)), "jpeg: unexpected end of data"},
		{"BMP, JPEG inside", with("bmp/24 bits", put(30, 4)), "bmp: not supported: compression 4"},
		{"BMP, PNG inside", with("bmp/24 bits", put(30, 5)), "bmp: not supported: embedded JPEG or PNG"},
		{"BMP, cut", with("bmp/24 bits", cut(2)), "bmp: unexpected end of data"},
		{"BMP, runs cut", with("bmp/run lengths of 8 bits", cut(7)), "bmp: unexpected end of data"},
		{"GIF, cut", with("gif/whole", cut(8)), "gif: unexpected end of data"},
		{"ICO, cut", with("ico/8 bits", cut(1)), "ico: unexpected end of data"},
		{"TIFF, LZMA", with("tiff/RGB", tag(259, 34925)), "tiff: not supported: LZMA compression"},
		{"TIFF, JBIG", with("tiff/RGB", tag(259, 34661)), "tiff: not supported: JBIG compression"},
		{"TIFF, no such compression", with("tiff/RGB", tag(259, 4711)), "tiff: not supported: compression 4711"},
		{"TIFF, a camera's", with("tiff/RGB", tag(262, 32803)), "tiff: not supported: raw data of a camera's sensor; develop it to PNG or JPEG first"},
		{"TIFF, cut", with("tiff/strips of 4 lines", func(b []byte) []byte { // the last strip is beyond the end
			at := bytes.Index(b, []byte{0x11, 0x01, 4, 0, 3, 0, 0, 0})
			list := binary.LittleEndian.Uint32(b[at+8:])
			binary.LittleEndian.PutUint32(b[list+8:], uint32(len(b)))
			return b
		}), "tiff: unexpected end of data"},
		{"TGA, cut", with("tga/24", cut(1)), "tga: unexpected end of data"},
		{"QOI, cut", with("qoi/RGB", cut(60)), "qoi: unexpected end of data"},
		{"PGM, cut", with("netpbm/P5", cut(1)), "netpbm: unexpected end of data"},
		{"PGM, beyond white", []byte("P2 1 1 5 6 "), "netpbm: a value above the maximum"},
		{"PNG, wrong checksum of the header", with("png/RGB", put(30, 7)), "png: invalid checksum"},
		{"PNG, wrong zlib checksum", with("png/RGB", func(b []byte) []byte {
			b[bytes.Index(b, []byte("IEND"))-9] ^= 1
			return b
		}), "png: zlib: invalid checksum"},
		{"PNG, cut", with("png/RGB", cut(60)), "png: not enough pixel data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if img, err := Decode(test.data); img != nil || err == nil || err.Error() != test.want {
				t.Errorf("%v, %v, want %s", img != nil, err, test.want)
			}
		})
	}
}

// An AVIF is not decoded if its stream is larger than its box declares, or if the box is too
// large.
func TestAVIFSize(t *testing.T) {
	size := func(w, h uint32) []byte {
		data := formFile(t, "avif/420")
		at := bytes.Index(data, []byte("ispe")) + 8
		binary.BigEndian.PutUint32(data[at:], w)
		binary.BigEndian.PutUint32(data[at+4:], h)
		return data
	}
	if s := streamSize([]byte{0x0a, 0x06, 0x18, 0x3b, 0xff, 0xff, 0xff, 0xff}); s.X < 1<<14 {
		t.Errorf("streamSize = %v", s)
	}
	f, err := readAVIF(formFile(t, "avif/420"))
	if err != nil {
		t.Fatal(err)
	}
	if s := streamSize(f.body(f.items[f.primary])); s.X != 27 || s.Y != 19 {
		t.Errorf("streamSize = %v, want 27x19", s)
	}
	var large *SizeError
	if _, err := Decode(size(60_000, 60_000)); !errors.As(err, &large) {
		t.Errorf("60000x60000: %v", err)
	}
	var memory *MemoryError
	if _, err := Decode(size(4000, 3000)); !errors.As(err, &memory) {
		t.Errorf("4000x3000: %v", err)
	}
	film := bytes.Replace(formFile(t, "avif/420"), []byte("pitm"), []byte("free"), 1)
	if _, err := Decode(film); err == nil || err.Error() != "avif: not supported: a file without a still image" {
		t.Errorf("no still image: %v", err)
	}
}

// The frame size and the number of scans of a JPEG are limited, also within a TIFF.
func TestJPEGLimits(t *testing.T) {
	data := formFile(t, "jpeg/420 progressive")
	for _, test := range []struct {
		limits jpegLimits
		want   string
	}{
		{jpegLimits{27, 19, 20}, ""},
		{jpegLimits{27, 19, 3}, "jpeg: not supported: too many scans"},
		{jpegLimits{26, 19, 20}, "jpeg: invalid frame size"},
		{jpegLimits{27, 18, 20}, "jpeg: invalid frame size"},
	} {
		_, err := decodeJPEG(nil, data, test.limits)
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("%v: %v, want %q", test.limits, err, test.want)
		}
	}
}

// As in Pillow, the first valid attribute or element counts.
func TestXMPOrientation(t *testing.T) {
	tests := []struct {
		xmp  string
		want int
	}{
		{`tiff:Orientation="6"`, 6}, {`<tiff:Orientation>8</tiff:Orientation>`, 8}, {`tiff:Orientation='6'`, 0}, {`tiff:Orientation="`, 0},
		{`tiff:OrientationX tiff:Orientation="3"`, 3}, {`exif:Orientation="3"`, 0}, {``, 0}, {`tiff:Orientation="9"`, 9},
	}
	for _, test := range tests {
		if got := xmpOrientation([]byte(test.xmp)); got != test.want {
			t.Errorf("%s: %d, want %d", test.xmp, got, test.want)
		}
	}
}
