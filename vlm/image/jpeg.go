package image

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
)

// maxScannedPixels limits the pixels times the scans of a JPEG. A scan of a few bytes visits
// every pixel, so a small file could keep the decoder busy for hours. Typical files have
// about ten scans.
const maxScannedPixels = 10 * MaxPixels

// A jpegFrame is what determines a JPEG's decoding cost.
type jpegFrame struct {
	progressive bool
	samples     float64 // per pixel, of all components
	scans       int
}

// jpegMarkers calls each for every marker segment of the file, until it returns false.
func jpegMarkers(data []byte, each func(marker byte, body []byte) bool) {
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
		if marker == markEOI {
			return
		}
		if marker <= 1 || marker >= markRST0 && marker < markEOI { // stuffed, or without a body
			p += 2
			continue
		}
		end := p + 2 + int(binary.BigEndian.Uint16(data[p+2:]))
		if end > len(data) || end < p+4 || !each(marker, data[p+4:end]) {
			return
		}
		p = end
	}
}

func readFrame(data []byte) jpegFrame {
	f := jpegFrame{samples: 3}
	jpegMarkers(data, func(marker byte, body []byte) bool {
		switch {
		case marker == markSOS:
			f.scans++
		case isFrame(marker) && f.scans == 0:
			f.frame(body)
			f.progressive = marker == markSOF2
		}
		return true
	})
	return f
}

// frame reads a frame header: precision, height, width, and for each component its id,
// sampling factors and quantisation table.
func (f *jpegFrame) frame(body []byte) {
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return
	}
	across, down, sum := 1, 1, 0
	for i := range int(body[5]) {
		h, v := int(body[6+3*i+1]>>4), int(body[6+3*i+1]&15)
		across, down, sum = max(across, h), max(down, v), sum+h*v
	}
	f.samples = float64(sum) / float64(across*down)
}

// jpegConfig reads the frame header.
func jpegConfig(data []byte) (c image.Config, err error) {
	err = io.ErrUnexpectedEOF
	jpegMarkers(data, func(marker byte, body []byte) bool {
		if !isFrame(marker) {
			return true
		}
		if err = frameSupported(marker, body); err == nil {
			c.Height, c.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
		}
		return false
	})
	return c, err
}

func decodeJPEGRows(data []byte, hd header) (source, error) {
	d, err := decodeJPEG(nil, data, jpegLimits{hd.w, hd.h, maxScans(hd.w, hd.h)})
	if err != nil {
		return source{}, err
	}
	if d.w != hd.w || d.h != hd.h {
		return source{}, formatError("jpeg", "two frame headers")
	}
	return source{line: d.lines(d.colours()), free: d.free}, nil
}

// jpegMemory counts the planes, the RGB and, for a progressive image, the coefficients of
// two bytes.
func jpegMemory(data []byte, c image.Config) int64 {
	f := readFrame(data)
	each := f.samples + 3
	if f.progressive {
		each += 2 * f.samples
	}
	return int64(each * float64(c.Width) * float64(c.Height))
}

// tooManyScans reports whether a JPEG exceeds maxScannedPixels.
func tooManyScans(data []byte, c image.Config) bool {
	return readFrame(data).scans > maxScans(c.Width, c.Height)
}

func maxScans(w, h int) int { return maxScannedPixels / (w * h) }
