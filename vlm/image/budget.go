package image

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"runtime/debug"

	"golang.org/x/sync/semaphore"
)

const (
	// MaxBytes is the most memory that pictures being decoded take together. A
	// picture that would take more by itself is refused by its header. PNG of 8 bits
	// and plain JPEG as cameras make it (4:2:0) fit with MaxPixels; JPEG 4:4:4 up to
	// 50 million pixels, progressive 4:2:0 to 40, PNG of 16 bits a channel and four
	// channels to 37, AVIF to 4.7.
	MaxBytes = 300_000_000

	// largeBytes is from where on the garbage of a decoding is worth a collection.
	largeBytes = 64 << 20
)

var budget = semaphore.NewWeighted(MaxBytes)

// A MemoryError reports a picture that takes more than MaxBytes to decode.
type MemoryError struct {
	W, H  int
	Bytes int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%dx%d takes %d MB to decode, more than %d MB", e.W, e.H, e.Bytes/1_000_000, MaxBytes/1_000_000)
}

// With decodes a picture as Decode does, and counts its memory until use returns.
// Where others are being decoded it waits until there is room.
func With(data []byte, use func(*RGB)) (err error) {
	defer normalizeError(data, &err)
	hd, err := readHeader(data)
	if err != nil {
		return err
	}
	if err := budget.Acquire(context.Background(), hd.bytes); err != nil {
		return err
	}
	defer budget.Release(hd.bytes)
	if hd.bytes >= largeBytes {
		// Go collects garbage when it is as much as what is in use, which after a
		// large picture is far too late for the next one.
		debug.FreeOSMemory()
		defer debug.FreeOSMemory()
	}
	img, err := decode(data, hd)
	if err != nil {
		return err
	}
	use(img)
	return nil
}

// bytesAPixel is what Go's image of a colour model takes.
func bytesAPixel(m color.Model) int64 {
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	if _, ok := m.(color.Palette); ok {
		return 1
	}
	return 4
}

// rendered is the memory of an image of so many bytes a pixel and of the RGB made
// of it, which takes the image's place where it fits in.
func rendered(c image.Config, each int64) int64 {
	pixels := int64(c.Width) * int64(c.Height)
	if each < 3 {
		each += 3
	}
	return pixels * each
}

func plainMemory(_ []byte, c image.Config) int64 { return rendered(c, bytesAPixel(c.ColorModel)) }

// pngMemory: the passes of an interlaced picture together are one more of its size.
func pngMemory(data []byte, c image.Config) int64 {
	n := plainMemory(data, c)
	const interlace = 28
	if len(data) > interlace && data[interlace] != 0 {
		n += int64(c.Width) * int64(c.Height) * bytesAPixel(c.ColorModel)
	}
	return n
}
