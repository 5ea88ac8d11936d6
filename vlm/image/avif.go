package image

import (
	"bytes"
	"image"
	"image/color"

	"github.com/gen2brain/avif"
)

// Memory of the decoder per pixel, measured at 5 and 12 million pixels: libavif in a
// WebAssembly runtime, whose memory is copied when it grows. Additional streams (alpha,
// tiles beyond the image, thumbnails) take memory for their planes.
const (
	avifBytes       = 64
	avifStreamBytes = 32
)

// avifConfig reads the boxes and checks the streams against them, since the decoder trusts
// the size in the stream.
func avifConfig(data []byte) (image.Config, error) {
	f, err := readAVIF(data)
	if err != nil {
		return image.Config{}, err
	}
	size := f.items[f.primary].size
	return image.Config{ColorModel: color.NRGBAModel, Width: size.X, Height: size.Y}, f.check()
}

func avifMemory(data []byte, c image.Config) int64 {
	f, err := readAVIF(data)
	if err != nil {
		return 0
	}
	pixels := int64(c.Width) * int64(c.Height)
	return pixels*avifBytes + max(0, f.coded()-pixels)*avifStreamBytes
}

func decodeAVIF(data []byte, hd header) (source, error) {
	still := bytes.Replace(data[:min(len(data), 16)], []byte("ftypavis"), []byte("ftypavif"), 1) // the still image, not the sequence
	m, err := avif.Decode(bytes.NewReader(append(still, data[len(still):]...)))
	if err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

// avifOrientation returns the orientation of the boxes irot and imir, or else XMP's. EXIF's
// is ignored: the standard requires it to agree with the boxes.
func avifOrientation(data []byte) int {
	f, err := readAVIF(data)
	if err != nil {
		return 1
	}
	if o := f.items[f.primary].orientation(); o != 1 {
		return o
	}
	exif, xmp := f.metadata()
	if exifOrXMP(exif, nil) != 1 {
		return 1
	}
	return exifOrXMP(exif, xmp)
}

// orientation returns the EXIF orientation of an anticlockwise rotation followed by
// mirroring.
func (i *avifItem) orientation() int {
	return [3][4]int{{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}}[i.mirror][i.turns]
}
