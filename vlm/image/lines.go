package image

import (
	"image"
	"image/color"
)

// lines returns a function that reads line y of m into dst as RGB composited over white, 3
// bytes per pixel. It is nil for image types that no decoder here returns.
func lines(m image.Image) func(dst []byte, y int) {
	switch m := m.(type) {
	case *image.Gray:
		return func(dst []byte, y int) { grayLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 1) }
	case *image.Gray16:
		return func(dst []byte, y int) { grayLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 2) }
	case *image.NRGBA:
		return func(dst []byte, y int) { straightLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 1) }
	case *image.NRGBA64:
		return func(dst []byte, y int) { straightLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 2) }
	case *image.RGBA:
		return func(dst []byte, y int) { premultipliedLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 1) }
	case *image.RGBA64:
		return func(dst []byte, y int) { premultipliedLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], 2) }
	case *image.CMYK:
		return func(dst []byte, y int) { cmykLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):]) }
	case *image.Paletted:
		table := paletteOverWhite(m.Palette)
		return func(dst []byte, y int) { palettedLine(dst, m.Pix[m.PixOffset(m.Rect.Min.X, y):], &table) }
	case *image.YCbCr:
		if m.SubsampleRatio == image.YCbCrSubsampleRatio420 {
			return webpLines(m)
		}
	case *image.NYCbCrA:
		colours := webpLines(&m.YCbCr)
		return func(dst []byte, y int) {
			colours(dst, y)
			alphaLine(dst, m.A[m.AOffset(m.Rect.Min.X, y):])
		}
	}
	return nil
}

// The functions below convert lines of big-endian values of the given number of bytes, using
// the high byte.

func grayLine(dst, src []byte, bytes int) {
	for i := 0; i < len(dst); i += 3 {
		v := src[i/3*bytes]
		dst[i], dst[i+1], dst[i+2] = v, v, v
	}
}

func straightLine(dst, src []byte, bytes int) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4*bytes {
		a := src[j+3*bytes]
		dst[i] = overWhite(src[j], a)
		dst[i+1] = overWhite(src[j+bytes], a)
		dst[i+2] = overWhite(src[j+2*bytes], a)
	}
}

func grayAlphaLine(dst, src []byte) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+2 {
		v := overWhite(src[j], src[j+1])
		dst[i], dst[i+1], dst[i+2] = v, v, v
	}
}

func premultipliedLine(dst, src []byte, bytes int) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4*bytes {
		white := 255 - int(src[j+3*bytes])
		dst[i] = byte(min(255, int(src[j])+white))
		dst[i+1] = byte(min(255, int(src[j+bytes])+white))
		dst[i+2] = byte(min(255, int(src[j+2*bytes])+white))
	}
}

func alphaLine(dst, alpha []byte) {
	for i := range dst {
		dst[i] = overWhite(dst[i], alpha[i/3])
	}
}

func palettedLine(dst, src []byte, table *[256][3]byte) {
	for i := 0; i < len(dst); i += 3 {
		*(*[3]byte)(dst[i:]) = table[src[i/3]]
	}
}

// paletteOverWhite returns the palette composited over white. As in Pillow, indices beyond
// its end are black.
func paletteOverWhite(palette color.Palette) (table [256][3]byte) {
	for i, entry := range palette[:min(256, len(palette))] {
		c := color.NRGBAModel.Convert(entry).(color.NRGBA)
		table[i] = [3]byte{overWhite(c.R, c.A), overWhite(c.G, c.A), overWhite(c.B, c.A)}
	}
	return table
}

// overWhite composites a straight-alpha value over white, with the rounding of Pillow's
// ImagingAlphaComposite (libImaging/AlphaComposite.c).
func overWhite(v, alpha byte) byte {
	if alpha == 255 {
		return v
	}
	t := (uint32(v)*uint32(alpha)+255*(255-uint32(alpha)))<<7 + 0x80<<7
	return byte((t>>8 + t) >> 8 >> 7)
}

// cmykLine follows Pillow's cmyk2rgb (libImaging/Convert.c).
func cmykLine(dst, src []byte) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4 {
		light := 255 - uint32(src[j+3])
		for k := range 3 {
			t := uint32(src[j+k])*light + 128
			dst[i+k] = byte(light - (t>>8+t)>>8)
		}
	}
}

func clamp(v int32) byte {
	if uint32(v) <= 255 {
		return byte(v)
	}
	return byte(^(v >> 31)) // 0 below, 255 above
}
