package picture

import (
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// A FormatError reports bytes that are no valid picture.
type FormatError struct {
	Format string // "png", "jpeg", …; empty where it is none of them
	Reason string
}

func (e *FormatError) Error() string { return join(e.Format, e.Reason) }

// An UnsupportedError reports a picture that uses a feature not read here.
type UnsupportedError struct {
	Format  string
	Feature string
}

func (e *UnsupportedError) Error() string { return join(e.Format, "not supported: "+e.Feature) }

// A SizeError reports a picture of more than MaxPixels.
type SizeError struct{ W, H int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("%dx%d is more than %d million pixels", e.W, e.H, MaxPixels/1_000_000)
}

func join(format, reason string) string {
	if format == "" {
		return reason
	}
	return format + ": " + reason
}

// oneLine, deferred, turns whatever a decoder returned, or panicked with, into
// one of this package's errors.
func oneLine(data []byte, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the decoder failed: %v", r)
	}
	switch (*err).(type) {
	case nil, *FormatError, *UnsupportedError, *SizeError, *MemoryError:
		return
	}
	name := ""
	if f := sniff(data); f != nil {
		name = f.name
	}
	if feature, ok := unsupported(*err); ok {
		*err = &UnsupportedError{name, feature}
		return
	}
	*err = &FormatError{name, reason(*err)}
}

// unsupported returns the feature that a decoder says it does not read.
func unsupported(err error) (feature string, ok bool) {
	var p png.UnsupportedError
	var j jpeg.UnsupportedError
	var t tiff.UnsupportedError
	switch {
	case errors.As(err, &p):
		return string(p), true
	case errors.As(err, &j):
		return string(j), true
	case errors.As(err, &t):
		return string(t), true
	case errors.Is(err, bmp.ErrUnsupported):
		return "this kind of BMP", true
	}
	return "", false
}

// reason is the decoder's message without its package and its class.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the data ends too early"
	}
	s, _, _ := strings.Cut(err.Error(), "\n")
	for _, prefix := range []string{"png: ", "jpeg: ", "gif: ", "bmp: ", "tiff: ", "webp: ", "invalid format: ", "invalid JPEG format: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
