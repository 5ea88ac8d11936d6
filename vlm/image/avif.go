package image

import (
	"bytes"
	"image"
	"image/color"

	"github.com/gen2brain/avif"
)

// What the decoder takes for a pixel, measured at 5 and 12 million: libavif in a
// WebAssembly machine, whose memory is copied when it grows. Further streams (alpha,
// what tiles have beyond the picture, thumbnails) take their planes.
const (
	avifBytes       = 64
	avifStreamBytes = 32
)

// avifConfig reads the boxes. The decoder would believe its own stream's size, so
// that every stream's header is held to what the boxes say.
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
	still := bytes.Replace(data[:min(len(data), 16)], []byte("ftypavis"), []byte("ftypavif"), 1) // the picture, not the film
	m, err := avif.Decode(bytes.NewReader(append(still, data[len(still):]...)))
	if err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

// avifOrientation is that of the boxes irot and imir, and where there are none
// XMP's. EXIF's is to agree with the boxes and does not count without them.
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

// orientation is EXIF's number for turning anticlockwise and then mirroring.
func (i *avifItem) orientation() int {
	return [3][4]int{{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}}[i.mirror][i.turns]
}
