package image

import "image"

// A format is one kind of image file.
type format struct {
	name   string
	is     func(data []byte) bool
	config func(data []byte) (image.Config, error)
	decode func(data []byte, hd header) (source, error)

	// upright returns the EXIF orientation; nil if the format has none.
	upright func(data []byte) int

	// bytes returns the memory for decoding, including the RGB. inPlace means that an
	// upright RGB can reuse the memory of the decoder's image.
	bytes   func(data []byte, c image.Config) int64
	inPlace bool

	// density is the maximum number of pixels per byte of the file; 0: no limit. It
	// detects truncated files and wrong headers before memory is allocated.
	density int
}

// hasMagic returns a function that reports whether data starts with one of magics, in which
// '?' matches any byte.
func hasMagic(magics ...string) func([]byte) bool {
	return func(data []byte) bool {
		for _, m := range magics {
			if matches(data, m) {
				return true
			}
		}
		return false
	}
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

var formats = []format{
	// Deflate compresses 1032:1 at most, and a byte has 8 one-bit pixels.
	{name: "png", is: hasMagic(pngMagic), config: pngConfig, decode: decodePNG, upright: pngOrientation, bytes: pngMemory, inPlace: true, density: 1032 * 8},
	// An 8×8 block takes at least one bit.
	{name: "jpeg", is: hasMagic("\xff\xd8\xff"), config: jpegConfig, decode: decodeJPEGRows, upright: jpegOrientation, bytes: jpegMemory, density: 64 * 8},
	{name: "gif", is: hasMagic("GIF87a", "GIF89a"), config: gifConfig, decode: decodeGIF, bytes: plainMemory},
	{name: "bmp", is: hasMagic("BM"), config: bmpConfig, decode: decodeBMP, bytes: plainMemory, inPlace: true},
	{name: "ico", is: isIcon, config: iconConfig, decode: decodeIcon, bytes: iconMemory, inPlace: true},
	{name: "bmp", is: isDIB, config: dibConfig, decode: decodeDIB, bytes: plainMemory, inPlace: true},
	{name: "avif", is: hasMagic("????ftypavif", "????ftypavis"), config: avifConfig, decode: decodeAVIF, upright: avifOrientation, bytes: avifMemory, inPlace: true},
	{name: "tiff", is: hasMagic("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), config: tiffConfig, decode: decodeTIFF, upright: tiffOrientation, bytes: tiffMemory, inPlace: true},
	{name: "webp", is: hasMagic("RIFF????WEBPVP8"), config: webpConfig, decode: decodeWebP, upright: webpOrientation, bytes: webpMemory},
	{name: "netpbm", is: isNetpbm, config: netpbmConfig, decode: decodeNetpbm, bytes: plainMemory, density: 8},
	// A run of 62 pixels takes a byte.
	{name: "qoi", is: hasMagic("qoif"), config: qoiConfig, decode: decodeQOI, bytes: plainMemory, inPlace: true, density: 62},
	// A run of 128 pixels takes two bytes.
	{name: "tga", is: isTarga, config: targaConfig, decode: decodeTarga, bytes: targaMemory, inPlace: true, density: 64},
}

// sniff returns the format of data by its first bytes, or nil.
func sniff(data []byte) *format {
	for i := range formats {
		if formats[i].is(data) {
			return &formats[i]
		}
	}
	return nil
}
