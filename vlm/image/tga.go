package image

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"io"
)

// A targa is the header of a TGA file, which has no magic number.
type targa struct {
	w, h      int
	kind      byte // 1 palette, 2 colours, 3 gray
	packed    bool
	bits      int
	fromRight bool
	fromTop   bool
	palette   [256][4]byte // red, green, blue, alpha
	pixels    []byte
	opaque    bool // ignore alpha
}

const targaHead = 18

// isTarga reports whether all fields of a TGA header are plausible.
func isTarga(data []byte) bool {
	if len(data) < targaHead || data[1] > 1 || data[2]&^8 < 1 || data[2]&^8 > 3 || data[17]&0xc0 != 0 {
		return false
	}
	mapped, bits := data[1] == 1, data[16]
	if mapped && data[7] != 16 && data[7] != 24 && data[7] != 32 {
		return false
	}
	if data[12]|data[13] == 0 || data[14]|data[15] == 0 {
		return false
	}
	switch data[2] &^ 8 {
	case 1:
		return mapped && bits == 8
	case 2:
		return bits == 16 || bits == 24 || bits == 32
	}
	return bits == 8 || bits == 16
}

func readTarga(data []byte) (*targa, error) {
	le := binary.LittleEndian
	t := &targa{
		w: int(le.Uint16(data[12:])), h: int(le.Uint16(data[14:])), kind: data[2] &^ 8, packed: data[2]&8 != 0,
		bits: int(data[16]), fromRight: data[17]&0x10 != 0, fromTop: data[17]&0x20 != 0,
	}
	p := targaHead + int(data[0])
	if data[1] == 1 {
		first, n, size := int(le.Uint16(data[3:])), int(le.Uint16(data[5:])), int(data[7])/8
		if p+n*size > len(data) {
			return nil, io.ErrUnexpectedEOF
		}
		for i := range n {
			if first+i < 256 {
				t.palette[first+i] = targaColour(data[p+i*size:], size)
			}
		}
		for i := range 256 {
			if i < first || i >= first+n {
				t.palette[i][3] = 255
			}
		}
		p += n * size
	}
	if p > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	t.pixels = data[p:]
	t.opaque = targaOpaque(data)
	return t, nil
}

// targaOpaque reports whether the extension area's attributes type is "no alpha".
func targaOpaque(data []byte) bool {
	const footer, attributes = 26, 494
	if len(data) < targaHead+footer || string(data[len(data)-18:]) != "TRUEVISION-XFILE.\x00" {
		return false
	}
	at := int(binary.LittleEndian.Uint32(data[len(data)-footer:])) + attributes
	return at > attributes && at < len(data) && data[at] == 0
}

// targaColour reads a colour of size bytes. With two bytes, the highest bit is set if it is
// transparent.
func targaColour(b []byte, size int) [4]byte {
	switch size {
	case 2:
		v := binary.LittleEndian.Uint16(b)
		five := func(n int) byte { return byte(int(v>>n&31) * 255 / 31) }
		alpha := byte(255)
		if v>>15 != 0 {
			alpha = 0
		}
		return [4]byte{five(10), five(5), five(0), alpha}
	case 3:
		return [4]byte{b[2], b[1], b[0], 255}
	}
	return [4]byte{b[2], b[1], b[0], b[3]}
}

func targaConfig(data []byte) (image.Config, error) {
	t, err := readTarga(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{ColorModel: color.NRGBAModel, Width: t.w, Height: t.h}, nil
}

// targaMemory adds the decompressed pixels.
func targaMemory(_ []byte, c image.Config) int64 {
	return rendered(c, 4) + 4*int64(c.Width)*int64(c.Height)
}

func decodeTarga(data []byte, hd header) (source, error) {
	t, err := readTarga(data)
	if err != nil {
		return source{}, err
	}
	size := t.bits / 8
	need := t.w * t.h * size
	src := t.pixels
	if t.packed {
		src, err = unpackTarga(t.pixels, need, size)
	}
	if err != nil || len(src) < need {
		return source{}, io.ErrUnexpectedEOF
	}
	m := image.NewNRGBA(image.Rect(0, 0, t.w, t.h))
	for i := range t.w * t.h {
		x, y := i%t.w, i/t.w
		if t.fromRight {
			x = t.w - 1 - x
		}
		if !t.fromTop {
			y = t.h - 1 - y
		}
		c := t.colour(src[i*size:], size)
		if t.opaque {
			c[3] = 255
		}
		copy(m.Pix[y*m.Stride+4*x:], c[:])
	}
	return fromImage(m, hd)
}

func (t *targa) colour(b []byte, size int) [4]byte {
	switch {
	case t.kind == 1:
		return t.palette[b[0]]
	case t.kind == 3 && size == 1:
		return [4]byte{b[0], b[0], b[0], 255}
	case t.kind == 3:
		return [4]byte{b[0], b[0], b[0], b[1]}
	}
	return targaColour(b, size)
}

// unpackTarga decodes packets of repeated and raw pixels, which may cross lines.
func unpackTarga(src []byte, need, size int) ([]byte, error) {
	var out bytes.Buffer
	for out.Len() < need {
		if len(src) < 1+size {
			return nil, io.ErrUnexpectedEOF
		}
		n := min((int(src[0]&127)+1)*size, need-out.Len())
		if src[0] >= 128 {
			for range n / size {
				out.Write(src[1 : 1+size])
			}
			src = src[1+size:]
			continue
		}
		if len(src) < 1+n {
			return nil, io.ErrUnexpectedEOF
		}
		out.Write(src[1 : 1+n])
		src = src[1+n:]
	}
	return out.Bytes(), nil
}
