package webgpu

import (
	"slices"
	"strings"
)

// ValidationError is a validation error of the library, with its message.
type ValidationError struct {
	Device, Message string
}

func (e *ValidationError) Error() string { return e.Device + ": " + e.Message }

// clean converts a message of the library to one line.
//
//lint:ignore U1000 nothing calls it where the library is left out
func clean(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "; ")
}
