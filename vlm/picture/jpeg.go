package picture

import (
	"bytes"
	"encoding/binary"
	"image"
)

// maxScanned bounds the scans of a progressive JPEG: pixels times scans. A few bytes
// make a scan that visits every pixel, so a small file could keep the decoder busy
// for hours. Honest files have some ten.
const maxScanned = 10 * MaxPixels

// A jpegFrame is what the markers of a JPEG say of its decoding.
type jpegFrame struct {
	progressive bool
	samples     float64 // of all components, a pixel
	components  int
	direct      bool // components are colours, not luma and chroma
	scans       int
}

// jpegMarkers calls each for every marker segment, through the scans.
func jpegMarkers(data []byte, each func(marker byte, body []byte)) {
	for p := 2; p+4 <= len(data); {
		if data[p] != 0xff {
			next := bytes.IndexByte(data[p:], 0xff)
			if next < 0 {
				return
			}
			p += next
			continue
		}
		marker := data[p+1]
		if marker == 0xff { // a fill byte
			p++
			continue
		}
		if marker == 0 || marker == 0x01 || marker >= 0xd0 && marker <= 0xd9 { // stuffed, or without a body
			p += 2
			continue
		}
		end := p + 2 + int(binary.BigEndian.Uint16(data[p+2:]))
		if end > len(data) || end < p+4 {
			return
		}
		each(marker, data[p+4:end])
		p = end
	}
}

func readFrame(data []byte) jpegFrame {
	const sof0, sof1, sof2, sos, app14 = 0xc0, 0xc1, 0xc2, 0xda, 0xee
	f := jpegFrame{samples: 3}
	jpegMarkers(data, func(marker byte, body []byte) {
		switch marker {
		case sof0, sof1, sof2:
			f.frame(body)
			f.progressive = f.progressive || marker == sof2
		case sos:
			f.scans++
		case app14:
			const transform = 11
			f.direct = f.direct || bytes.HasPrefix(body, []byte("Adobe")) && len(body) > transform && body[transform] == 0
		}
	})
	return f
}

// frame reads a frame header: precision, height, width, and for each component its
// name, its sampling factors and its table.
func (f *jpegFrame) frame(body []byte) {
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return
	}
	f.components = int(body[5])
	most, sum := 1, 0
	for i := range f.components {
		factors := body[6+3*i+1]
		n := int(factors>>4) * int(factors&15)
		most, sum = max(most, n), sum+n
	}
	f.samples = float64(sum) / float64(most)
	f.direct = f.direct || f.components == 3 && string([]byte{body[6], body[9], body[12]}) == "RGB"
}

// jpegMemory: a progressive picture is kept as coefficients of four bytes until its
// last scan; what is no luma and chroma is made another image of.
func jpegMemory(data []byte, c image.Config) int64 {
	f := readFrame(data)
	each := f.samples
	if f.progressive {
		each += 4 * f.samples
	}
	if f.components == 4 || f.direct {
		each += 4
	}
	const rgb = 3
	each += rgb
	return int64(each * float64(c.Width) * float64(c.Height))
}

// tooManyScans tells a JPEG that would keep the decoder busy.
func tooManyScans(data []byte, c image.Config) bool {
	f := readFrame(data)
	return f.progressive && f.scans > maxScanned/(c.Width*c.Height)
}
