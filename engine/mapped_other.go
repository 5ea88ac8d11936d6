//go:build !unix

package engine

import "errors"

// CanMap says that the system gives memory outside Go's heap.
const CanMap = false

// MapMemory has no memory to give here.
func MapMemory(int64) ([]byte, error) { return nil, errors.ErrUnsupported }

// UnmapMemory gives back what MapMemory returned.
func UnmapMemory([]byte) {}
