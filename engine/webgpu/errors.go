package webgpu

import (
	"slices"
	"strings"
)

// ValidationError is what the library refuses to do, in its own words.
type ValidationError struct {
	Device, Message string
}

func (e *ValidationError) Error() string { return e.Device + ": " + e.Message }

// clean is a message of the library as one line.
//
//lint:ignore U1000 nothing calls it where the library is left out
func clean(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "; ")
}
