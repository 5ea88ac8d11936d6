//go:build !unix

package engine

import "errors"

// CanMap reports whether MapMemory works on this system.
const CanMap = false

// MapMemory is not supported on this system.
func MapMemory(int64) ([]byte, error) { return nil, errors.ErrUnsupported }

// UnmapMemory frees what MapMemory returned.
func UnmapMemory([]byte) {}
