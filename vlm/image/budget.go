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
	// MaxBytes limits the memory of all images being decoded at a time. An image that
	// takes more on its own is rejected by its header. PNG with 8 bits and baseline JPEG
	// 4:2:0 fit up to MaxPixels; JPEG 4:4:4 fits up to 50 million pixels, progressive
	// 4:2:0 up to 40, PNG with four 16-bit channels up to 37, AVIF up to 4.7.
	MaxBytes = 300_000_000

	// largeBytes is the size of a decoding that warrants a garbage collection.
	largeBytes = 64 << 20
)

var budget = semaphore.NewWeighted(MaxBytes)

// A MemoryError reports an image that takes more than MaxBytes to decode.
type MemoryError struct {
	W, H  int
	Bytes int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%dx%d takes %d MB to decode, more than %d MB", e.W, e.H, e.Bytes/1_000_000, MaxBytes/1_000_000)
}

// With decodes an image as Decode does and passes it to use. Its memory counts against
// MaxBytes until use returns; With waits while other images take too much.
func With(data []byte, use func(*RGB)) (err error) {
	return withSource(data, func(s source, hd header) { use(render(s, hd)) })
}

// withSource is With for an image that has not been rendered.
func withSource(data []byte, use func(source, header)) (err error) {
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
		// By default, Go collects garbage when the heap has doubled, which is too late
		// when large images follow each other.
		debug.FreeOSMemory()
		defer debug.FreeOSMemory()
	}
	s, err := hd.decode(data, hd)
	if err != nil {
		return err
	}
	use(s, hd)
	if s.free != nil {
		s.free()
	}
	return nil
}

// bytesAPixel returns the bytes per pixel of Go's image type for a colour model.
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

// rendered returns the memory of an image with each bytes per pixel and of the RGB made
// from it, which reuses the image's memory if it fits.
func rendered(c image.Config, each int64) int64 {
	pixels := int64(c.Width) * int64(c.Height)
	if each < 3 {
		each += 3
	}
	return pixels * each
}

func plainMemory(_ []byte, c image.Config) int64 { return rendered(c, bytesAPixel(c.ColorModel)) }

// pngMemory adds the passes of an interlaced image, which together have its size.
func pngMemory(data []byte, c image.Config) int64 {
	n := plainMemory(data, c)
	const interlace = 28
	if len(data) > interlace && data[interlace] != 0 {
		n += int64(c.Width) * int64(c.Height) * bytesAPixel(c.ColorModel)
	}
	return n
}
