package image

import (
	"bytes"
	"strings"
)

// Readable names the formats that are read, of ICO the cursors too.
const Readable = "PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF, ICO, PPM, PGM, PBM, QOI and TGA"

// Extensions are the names' ends of files that are taken for pictures: of what is
// read, and of others that are better refused by name than passed by.
var Extensions = []string{
	".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif",
	".ico", ".cur", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".tga",
	".heic", ".heif", ".jp2", ".j2k", ".jpf", ".jxl", ".psd", ".svg", ".dds", ".pcx", ".exr", ".hdr",
}

// refused are files that are known and not read, by how they begin.
var unsupportedFormats = []struct{ magic, name string }{
	{"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"}, {"\xff\x4f\xff\x51", "a JPEG 2000 picture"},
	{"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"}, {"\xff\x0a", "a JPEG XL picture"}, {"II\xbc\x01", "a JPEG XR picture"},
	{"????ftyphei", "a HEIC picture"}, {"????ftyphev", "a HEIC picture"}, {"????ftypmif1", "a HEIF picture"}, {"????ftypmsf1", "a HEIF picture"},
	{"????ftypcrx", "a camera's raw picture"}, {"FUJIFILMCCD-RAW", "a camera's raw picture"}, {"IIRO", "a camera's raw picture"},
	{"IIRS", "a camera's raw picture"}, {"IIU\x00", "a camera's raw picture"}, {"????ftyp", "an MP4 film"}, {"????moov", "a QuickTime film"},
	{"RIFF????AVI ", "an AVI film"}, {"\x1aE\xdf\xa3", "a Matroska or WebM film"}, {"\x00\x00\x01\xba", "an MPEG film"}, {"\x00\x00\x01\xb3", "an MPEG film"},
	{"FLV\x01", "a Flash film"}, {"OggS", "an Ogg file"}, {"RIFF????WAVE", "a WAV sound"}, {"????\x11\xaf", "a FLIC film"}, {"????\x12\xaf", "a FLIC film"},
	{"%PDF", "a PDF document"}, {"%!PS", "a PostScript drawing"}, {"\xc5\xd0\xd3\xc6", "an EPS drawing"}, {"\xd7\xcd\xc6\x9a", "a WMF drawing"},
	{"\x01\x00\x00\x00????????????????????????????????????\x20EMF", "an EMF drawing"},
	{"8BPS", "a Photoshop picture"}, {"gimp xcf", "a GIMP picture"}, {"DDS ", "a DDS texture"}, {"BLP1", "a BLP texture"}, {"BLP2", "a BLP texture"},
	{"FTEX", "an FTEX texture"}, {"\xabKTX ", "a KTX texture"}, {"icns", "an ICNS icon"}, {"\x76\x2f\x31\x01", "an OpenEXR picture"}, {"#?RADIANCE", "a Radiance HDR picture"},
	{"#?RGBE", "a Radiance HDR picture"}, {"FLIF", "a FLIF picture"}, {"BPG\xfb", "a BPG picture"}, {"\x01\xda", "an SGI picture"},
	{"\x59\xa6\x6a\x95", "a Sun raster picture"}, {"\x0a\x00\x01", "a PCX picture"}, {"\x0a\x02\x01", "a PCX picture"}, {"\x0a\x03\x01", "a PCX picture"},
	{"\x0a\x05\x01", "a PCX picture"}, {"\xb1\x68\xde\x3a", "a DCX picture"}, {"/* XPM", "an XPM picture"},
	{"SIMPLE  =", "a FITS picture"}, {"P7\n", "a PAM picture"}, {"P7 332", "an XV thumbnail"}, {"Pf\n", "a floating-point PFM picture"}, {"PF\n", "a floating-point PFM picture"},
	{"AT&TFORM", "a DjVu document"}, {"\x8aMNG", "an MNG film"}, {"\x8bJNG", "a JNG picture"}, {"DanM", "an MSP picture"}, {"LinS", "an MSP picture"},
	{"Image type:", "an IM picture"}, {"\xd0\xcf\x11\xe0", "an Office or FlashPix document"}, {"\x93NUMPY", "a NumPy array"}, {"PK\x03\x04", "a ZIP archive"},
	{"\x1f\x8b", "a gzip file"}, {"PAR1", "a Parquet file"},
}

// notRead is the error for a file of no format that is read: by its name, where
// that is known.
func unknownFormatError(data []byte) error {
	text := data[:min(len(data), 1024)]
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case matches(data, "version https://git-lfs"):
		return &FormatError{Reason: "a Git LFS pointer, not the picture; fetch it with git lfs pull"}
	case bytes.HasPrefix(trimmed, []byte("<svg")), bytes.HasPrefix(trimmed, []byte("<?xml")) && bytes.Contains(text, []byte("<svg")):
		return &UnsupportedError{Format: "an SVG drawing"}
	case len(data) > 132 && string(data[128:132]) == "DICM":
		return &UnsupportedError{Format: "a DICOM picture"}
	case bytes.HasPrefix(text, []byte("#define ")) && bytes.Contains(text, []byte("_width ")):
		return &UnsupportedError{Format: "an XBM picture"}
	case len(bytes.Trim(text, "\x00")) == 0:
		return &FormatError{Reason: "no picture: it begins with zeros alone"}
	}
	for _, r := range unsupportedFormats {
		if matches(data, r.magic) {
			return &UnsupportedError{Format: r.name}
		}
	}
	return &FormatError{Reason: "not a " + strings.Replace(Readable, " and ", " or ", 1) + " file"}
}
