package image

import (
	"bytes"
	"strings"
)

// Readable lists the supported formats. ICO includes cursors.
const Readable = "PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF, ICO, PPM, PGM, PBM, QOI and TGA"

// Extensions are the file name extensions of images, including unsupported formats, which
// are better reported than silently skipped.
var Extensions = []string{
	".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif",
	".ico", ".cur", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".tga",
	".heic", ".heif", ".jp2", ".j2k", ".jpf", ".jxl", ".psd", ".svg", ".dds", ".pcx", ".exr", ".hdr",
}

// unsupportedFormats are known unsupported formats by their first bytes; '?' matches any
// byte.
var unsupportedFormats = []struct{ magic, name string }{
	{"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"}, {"\xff\x4f\xff\x51", "a JPEG 2000 image"},
	{"\x00\x00\x00\x0cJXL ", "a JPEG XL image"}, {"\xff\x0a", "a JPEG XL image"}, {"II\xbc\x01", "a JPEG XR image"},
	{"????ftyphei", "a HEIC image"}, {"????ftyphev", "a HEIC image"}, {"????ftypmif1", "a HEIF image"}, {"????ftypmsf1", "a HEIF image"},
	{"????ftypcrx", "a camera raw image"}, {"FUJIFILMCCD-RAW", "a camera raw image"}, {"IIRO", "a camera raw image"},
	{"IIRS", "a camera raw image"}, {"IIU\x00", "a camera raw image"}, {"????ftyp", "an MP4 video"}, {"????moov", "a QuickTime video"},
	{"RIFF????AVI ", "an AVI video"}, {"\x1aE\xdf\xa3", "a Matroska or WebM video"}, {"\x00\x00\x01\xba", "an MPEG video"}, {"\x00\x00\x01\xb3", "an MPEG video"},
	{"FLV\x01", "a Flash video"}, {"OggS", "an Ogg file"}, {"RIFF????WAVE", "a WAV audio file"}, {"????\x11\xaf", "a FLIC video"}, {"????\x12\xaf", "a FLIC video"},
	{"%PDF", "a PDF document"}, {"%!PS", "a PostScript drawing"}, {"\xc5\xd0\xd3\xc6", "an EPS drawing"}, {"\xd7\xcd\xc6\x9a", "a WMF drawing"},
	{"\x01\x00\x00\x00????????????????????????????????????\x20EMF", "an EMF drawing"},
	{"8BPS", "a Photoshop image"}, {"gimp xcf", "a GIMP image"}, {"DDS ", "a DDS texture"}, {"BLP1", "a BLP texture"}, {"BLP2", "a BLP texture"},
	{"FTEX", "an FTEX texture"}, {"\xabKTX ", "a KTX texture"}, {"icns", "an ICNS icon"}, {"\x76\x2f\x31\x01", "an OpenEXR image"}, {"#?RADIANCE", "a Radiance HDR image"},
	{"#?RGBE", "a Radiance HDR image"}, {"FLIF", "a FLIF image"}, {"BPG\xfb", "a BPG image"}, {"\x01\xda", "an SGI image"},
	{"\x59\xa6\x6a\x95", "a Sun raster image"}, {"\x0a\x00\x01", "a PCX image"}, {"\x0a\x02\x01", "a PCX image"}, {"\x0a\x03\x01", "a PCX image"},
	{"\x0a\x05\x01", "a PCX image"}, {"\xb1\x68\xde\x3a", "a DCX image"}, {"/* XPM", "an XPM image"},
	{"SIMPLE  =", "a FITS image"}, {"P7\n", "a PAM image"}, {"P7 332", "an XV thumbnail"}, {"Pf\n", "a floating-point PFM image"}, {"PF\n", "a floating-point PFM image"},
	{"AT&TFORM", "a DjVu document"}, {"\x8aMNG", "an MNG video"}, {"\x8bJNG", "a JNG image"}, {"DanM", "an MSP image"}, {"LinS", "an MSP image"},
	{"Image type:", "an IM image"}, {"\xd0\xcf\x11\xe0", "an Office or FlashPix document"}, {"\x93NUMPY", "a NumPy array"}, {"PK\x03\x04", "a ZIP archive"},
	{"\x1f\x8b", "a gzip file"}, {"PAR1", "a Parquet file"},
}

// unknownFormatError returns the error for a file of an unsupported format, with the
// format's name if it is known.
func unknownFormatError(data []byte) error {
	text := data[:min(len(data), 1024)]
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case matches(data, "version https://git-lfs"):
		return &FormatError{Reason: "a Git LFS pointer, not the image; fetch it with git lfs pull"}
	case bytes.HasPrefix(trimmed, []byte("<svg")), bytes.HasPrefix(trimmed, []byte("<?xml")) && bytes.Contains(text, []byte("<svg")):
		return &UnsupportedError{Format: "an SVG drawing"}
	case len(data) > 132 && string(data[128:132]) == "DICM":
		return &UnsupportedError{Format: "a DICOM image"}
	case bytes.HasPrefix(text, []byte("#define ")) && bytes.Contains(text, []byte("_width ")):
		return &UnsupportedError{Format: "an XBM image"}
	case len(bytes.Trim(text, "\x00")) == 0:
		return &FormatError{Reason: "not an image: it starts with zeros"}
	}
	for _, r := range unsupportedFormats {
		if matches(data, r.magic) {
			return &UnsupportedError{Format: r.name}
		}
	}
	return &FormatError{Reason: "not a " + strings.Replace(Readable, " and ", " or ", 1) + " file"}
}
