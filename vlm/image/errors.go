package image

import (
	"errors"
	"fmt"
	"image/png"
	"io"
	"strings"
)

// A FormatError reports data that is not a valid image.
type FormatError struct {
	Format string // "png", "jpeg", …; empty if the format is unknown
	Reason string
}

func (e *FormatError) Error() string { return join(e.Format, e.Reason) }

// An UnsupportedError reports an unsupported format or feature.
type UnsupportedError struct {
	Format  string // "png", …; for an unsupported format with article: "a HEIC image"
	Feature string // empty for an unsupported format
}

func (e *UnsupportedError) Error() string {
	if e.Feature == "" {
		return e.Format + ": not supported; convert it to PNG or JPEG"
	}
	return join(e.Format, "not supported: "+e.Feature)
}

// A SizeError reports an image of more than MaxPixels.
type SizeError struct{ W, H int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("%dx%d is more than %d million pixels", e.W, e.H, MaxPixels/1_000_000)
}

func formatError(format, reason string) error       { return &FormatError{format, reason} }
func unsupportedError(format, feature string) error { return &UnsupportedError{format, feature} }

func join(format, reason string) string {
	if format == "" {
		return reason
	}
	return format + ": " + reason
}

// panicMessage starts the error of a decoder that panicked.
const panicMessage = "the decoder failed"

// normalizeError, deferred, converts any error or panic of a decoder to one of this
// package's errors, with a message of one line.
func normalizeError(data []byte, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: %v", panicMessage, r)
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

// unsupported returns the feature in a decoder's own unsupported error.
func unsupported(err error) (feature string, ok bool) {
	var p png.UnsupportedError
	ok = errors.As(err, &p)
	return string(p), ok
}

// reason returns the first line of a decoder's message without its prefixes.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "unexpected end of data"
	}
	s, _, _ := strings.Cut(err.Error(), "\n")
	for _, prefix := range []string{"png: ", "webp: ", "avif: ", "zlib: ", "flate: ", "invalid format: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
