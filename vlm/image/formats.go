package image

import "image"

// A format is one kind of image file.
type format struct {
	name   string
	is     func(data []byte) bool
	config func(data []byte) (image.Config, error)
	decode func(data []byte, hd header) (source, error)

	// upright finds the orientation, nil where the format has none.
	upright func(data []byte) int

	// bytes is the memory that decoding takes, the RGB included; inPlace that an
	// upright RGB may lie where the decoder's image was.
	bytes   func(data []byte, c image.Config) int64
	inPlace bool

	// density is the most pixels that one byte of a whole file can stand for,
	// 0 where there is no such bound. It tells a header that promises more than
	// the file can hold before memory is taken for it.
	density int
}

// begins tells files by their first bytes; '?' is any byte.
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
	// Deflate packs at most 1032 bytes into one, of 8 one-bit pixels each.
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
	// A byte can stand for 62 pixels.
	{name: "qoi", is: hasMagic("qoif"), config: qoiConfig, decode: decodeQOI, bytes: plainMemory, inPlace: true, density: 62},
	// Two bytes can stand for 128 pixels.
	{name: "tga", is: isTarga, config: targaConfig, decode: decodeTarga, bytes: targaMemory, inPlace: true, density: 64},
}

// sniff finds the format by the first bytes, nil where none fits.
func sniff(data []byte) *format {
	for i := range formats {
		if formats[i].is(data) {
			return &formats[i]
		}
	}
	return nil
}
