package image

import (
	"errors"
	"fmt"
	"image/png"
	"io"
	"strings"
)

// A FormatError reports bytes that are no valid picture.
type FormatError struct {
	Format string // "png", "jpeg", …; empty where it is none of them
	Reason string
}

func (e *FormatError) Error() string { return join(e.Format, e.Reason) }

// An UnsupportedError reports a picture that uses a feature not read here.
type UnsupportedError struct {
	Format  string // with its article where it is not read at all: "a HEIC picture"
	Feature string // empty for the whole format
}

func (e *UnsupportedError) Error() string {
	if e.Feature == "" {
		return e.Format + ": not supported; convert it to PNG or JPEG"
	}
	return join(e.Format, "not supported: "+e.Feature)
}

// A SizeError reports a picture of more than MaxPixels.
type SizeError struct{ W, H int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("%dx%d is more than %d million pixels", e.W, e.H, MaxPixels/1_000_000)
}

// badPicture and unreadPicture are the two for decoders of this package.
func formatError(format, reason string) error       { return &FormatError{format, reason} }
func unsupportedError(format, feature string) error { return &UnsupportedError{format, feature} }

func join(format, reason string) string {
	if format == "" {
		return reason
	}
	return format + ": " + reason
}

// panicked is what is said of a decoder that did.
const panicMessage = "the decoder failed"

// oneLine, deferred, turns whatever a decoder returned, or panicked with, into
// one of this package's errors.
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

// unsupported returns the feature that a decoder says it does not read.
func unsupported(err error) (feature string, ok bool) {
	var p png.UnsupportedError
	ok = errors.As(err, &p)
	return string(p), ok
}

// reason is the decoder's message without its package and its class.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the data ends too early"
	}
	s, _, _ := strings.Cut(err.Error(), "\n")
	for _, prefix := range []string{"png: ", "webp: ", "avif: ", "zlib: ", "flate: ", "invalid format: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
