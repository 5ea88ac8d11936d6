package image

import (
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"math"
)

// qoiConfig reads the header of a QOI file (qoiformat.org).
func qoiConfig(data []byte) (image.Config, error) {
	if len(data) < 14 {
		return image.Config{}, io.ErrUnexpectedEOF
	}
	w, h := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	return image.Config{ColorModel: color.NRGBAModel, Width: int(min(w, math.MaxInt32)), Height: int(min(h, math.MaxInt32))}, nil
}

func decodeQOI(data []byte, hd header) (source, error) {
	m := image.NewNRGBA(image.Rect(0, 0, hd.w, hd.h))
	const head = 14
	opaque := data[12] == 3
	var seen [64][4]byte
	pixel := [4]byte{0, 0, 0, 255}
	p := head
	next := func() byte {
		p++
		return data[min(p-1, len(data)-1)]
	}
	for i := 0; i < len(m.Pix) && p <= len(data); {
		run := 1
		switch b := next(); {
		case b == 0xfe:
			pixel = [4]byte{next(), next(), next(), pixel[3]}
		case b == 0xff:
			pixel = [4]byte{next(), next(), next(), next()}
		case b < 0x40:
			pixel = seen[b]
		case b < 0x80:
			pixel[0] += b>>4&3 - 2
			pixel[1] += b>>2&3 - 2
			pixel[2] += b&3 - 2
		case b < 0xc0:
			green, rest := b&63-32, next()
			pixel[0] += green + rest>>4 - 8
			pixel[1] += green
			pixel[2] += green + rest&15 - 8
		default:
			run = int(b&63) + 1
		}
		seen[(pixel[0]*3+pixel[1]*5+pixel[2]*7+pixel[3]*11)%64] = pixel
		for ; run > 0 && i < len(m.Pix); run, i = run-1, i+4 {
			copy(m.Pix[i:], pixel[:])
			if opaque {
				m.Pix[i+3] = 255
			}
		}
	}
	if p > len(data) {
		return source{}, io.ErrUnexpectedEOF
	}
	return fromImage(m, hd)
}
