// Package vp8 decodes key frames of VP8, which are the lossy images of WebP, by RFC 6386.
//
// A frame decodes to the bits of golang.org/x/image/vp8, or fails where that does. Exceptions
// are ErrUnsupported, ErrInvalidCode, and a level of the loop filter that exceeds eight bits
// with its deltas: RFC 6386 clamps it to between 0 and 63, golang.org/x/image lets it wrap.
package vp8

import (
	"errors"
	"image"
	"io"
)

var (
	// ErrUnsupported is the error for a frame that is not a displayable key frame of
	// version 0 to 3, or has no pixels.
	ErrUnsupported = errors.New("vp8: not a displayable key frame of a known version")

	// ErrInvalidCode is the error for a partition that starts with 255, as no encoder
	// writes it: its value is outside of the arithmetic decoder's interval.
	ErrInvalidCode = errors.New("vp8: invalid arithmetic code")

	errStartCode = errors.New("vp8: invalid start code")
	errLongData  = errors.New("vp8: more than 16 MiB of coefficients in a partition")
)

// Size returns the size of a key frame in pixels, from its first ten bytes.
func Size(frame []byte) (width, height int, err error) {
	t, err := parseTag(frame)
	return t.width, t.height, err
}

// Decode decodes a key frame. Its planes have 4:2:0 chroma, in the limited range of ITU-R
// BT.601. The error is ErrUnsupported, ErrInvalidCode, io.ErrUnexpectedEOF for a frame that is
// cut off, or another that says what is invalid.
func Decode(frame []byte) (*image.YCbCr, error) {
	tag, err := parseTag(frame)
	if err != nil {
		return nil, err
	}
	data := frame[tagBytes:]
	if tag.firstPartition > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	first, err := newBoolDecoder(data[:tag.firstPartition])
	if err != nil {
		return nil, err
	}
	d := decoder{modes: first}
	d.header = parseHeader(first, &d.probs)
	if first.truncated {
		return nil, io.ErrUnexpectedEOF
	}
	if d.partitions, err = splitPartitions(data[tag.firstPartition:], d.header.partitions); err != nil {
		return nil, err
	}
	d.start(tag.width, tag.height)
	for y := range d.rows {
		if err := d.row(y); err != nil {
			return nil, err
		}
	}
	return d.image(tag.width, tag.height), nil
}
