package image

import (
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"math/bits"
)

// An icon is the image of a Windows icon or cursor that Pillow chooses: of an icon the
// largest, and among equals the one with the fewest bits; of a cursor the first that no
// later one exceeds in both width and height.
type icon struct {
	data   []byte
	at     int
	end    int // according to the directory
	bits   int
	cursor bool
}

const iconEntry = 16

// isIcon reports whether data starts with a directory of at least one entry.
func isIcon(data []byte) bool {
	return len(data) > 5 && data[0]|data[1]|data[3] == 0 && (data[2] == 1 || data[2] == 2) && data[4]|data[5] != 0
}

func readIcon(data []byte) (icon, error) {
	if len(data) < 6+iconEntry {
		return icon{}, io.ErrUnexpectedEOF
	}
	cursor := data[2] == 2
	var best []byte
	area, depth := 0, 0
	for i := range int(binary.LittleEndian.Uint16(data[4:])) {
		at := 6 + i*iconEntry
		if at+iconEntry > len(data) {
			return icon{}, io.ErrUnexpectedEOF
		}
		e := data[at : at+iconEntry]
		if cursor {
			if best == nil || e[0] > best[0] && e[1] > best[1] {
				best = e
			}
			continue
		}
		a, d := (int(e[0]-1)+1)*(int(e[1]-1)+1), iconDepth(e)
		if best == nil || a > area || a == area && d < depth {
			best, area, depth = e, a, d
		}
	}
	if best == nil {
		return icon{}, formatError("ico", "no image")
	}
	c := icon{data: data, at: int(binary.LittleEndian.Uint32(best[12:])), bits: int(binary.LittleEndian.Uint16(best[6:])), cursor: cursor}
	if c.at > len(data) {
		return icon{}, io.ErrUnexpectedEOF
	}
	c.end = c.at + int(binary.LittleEndian.Uint32(best[8:]))
	return c, nil
}

// iconDepth returns the bits per pixel that a directory entry declares.
func iconDepth(e []byte) int {
	if n := int(binary.LittleEndian.Uint16(e[6:])); n > 0 {
		return n
	}
	if e[2] > 0 {
		return bits.Len(uint(e[2] - 1))
	}
	return 256
}

func (c icon) png() bool { return !c.cursor && matches(c.data[c.at:], pngMagic) }

// bitmap reads the icon's header. The stored height is that of colours and mask together.
func (c icon) bitmap() (*bitmap, error) {
	b, err := readBitmap(c.data, c.at, 0)
	if err != nil {
		return nil, err
	}
	b.h /= 2
	return b, nil
}

func iconConfig(data []byte) (image.Config, error) {
	c, err := readIcon(data)
	if err != nil {
		return image.Config{}, err
	}
	if c.png() {
		return pngConfig(data[c.at:])
	}
	b, err := c.bitmap()
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{ColorModel: color.NRGBAModel, Width: b.w, Height: b.h}, nil
}

// iconMemory adds the palette indices, which are read before the mask is applied.
func iconMemory(data []byte, c image.Config) int64 {
	if i, err := readIcon(data); err == nil && i.png() {
		return pngMemory(data[i.at:], c)
	}
	return rendered(c, 4) + int64(c.Width)*int64(c.Height)
}

func decodeIcon(data []byte, hd header) (source, error) {
	c, err := readIcon(data)
	if err != nil {
		return source{}, err
	}
	if c.png() {
		return decodePNG(data[c.at:], hd)
	}
	b, err := c.bitmap()
	if err != nil {
		return source{}, err
	}
	m, err := c.image(b)
	if err != nil {
		return source{}, err
	}
	return fromImage(m, hd)
}

// image reads the colours and the mask that follows them, where 1 is transparent.
func (c icon) image(b *bitmap) (*image.NRGBA, error) {
	if b.bits == 32 && (c.cursor || c.bits == 32) {
		b.masks[3] = 0xff000000
	}
	whole, err := b.whole()
	if err != nil {
		return nil, err
	}
	maskLine := (b.w + 31) / 32 * 4
	at := c.end - maskLine*b.h
	switch {
	case c.cursor && b.grays(): // of cursors, Pillow uses only these masks
		at = b.pixels + b.stride()*b.h
	case c.cursor, c.bits == 32:
		return whole, nil
	}
	if at < 0 || at+maskLine*b.h > len(c.data) {
		return nil, io.ErrUnexpectedEOF
	}
	for y := range b.h {
		line := c.data[at+(b.h-1-y)*maskLine:][:maskLine]
		for x := range b.w {
			if line[x/8]>>(7-x%8)&1 != 0 {
				whole.Pix[y*whole.Stride+4*x+3] = 0
			}
		}
	}
	return whole, nil
}

// grays reports whether the palette is black and white, or all shades of gray in order.
func (b *bitmap) grays() bool {
	for i, c := range b.palette {
		v := byte(i)
		if len(b.palette) == 2 {
			v = byte(255 * i)
		}
		if c != (color.NRGBA{v, v, v, 255}) {
			return false
		}
	}
	return b.bits <= 8
}

// whole returns the image without its mask.
func (b *bitmap) whole() (*image.NRGBA, error) {
	if b.bits > 8 {
		return b.colours()
	}
	m, err := b.indices()
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(m.Rect)
	for i, v := range m.Pix {
		rgba := color.NRGBA{0, 0, 0, 255}
		if int(v) < len(b.palette) {
			rgba = b.palette[v].(color.NRGBA)
		}
		out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2], out.Pix[4*i+3] = rgba.R, rgba.G, rgba.B, rgba.A
	}
	return out, nil
}
