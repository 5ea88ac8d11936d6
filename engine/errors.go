package engine

import (
	"errors"
	"fmt"
)

var (
	// ErrDeviceLost means that the device stopped responding. Nothing on it can be read
	// any more; a run resumes from its last checkpoint.
	ErrDeviceLost = errors.New("device lost")

	// ErrUnsupported means that the device does not support the request.
	ErrUnsupported = errors.New("unsupported")

	// ErrNoDevice means that there is no such device.
	ErrNoDevice = errors.New("no such device")
)

// OutOfMemoryError reports how much was requested and how much is available. A driver
// that runs out of memory during other calls reports neither: then What is empty.
type OutOfMemoryError struct {
	Device    string
	What      string // what the memory was for: "activations", "weights"
	Asked     int64  // bytes
	Available int64  // bytes, 0 = not reported
}

// ErrOutOfMemory is matched by every *OutOfMemoryError.
var ErrOutOfMemory = errors.New("out of memory")

func (e *OutOfMemoryError) Error() string {
	s := "out of memory"
	if e.Device != "" {
		s += " on " + e.Device
	}
	if e.What != "" {
		s += fmt.Sprintf(": %s need %s", e.What, Bytes(e.Asked))
	}
	if e.Available > 0 {
		s += fmt.Sprintf(", %s are there", Bytes(e.Available))
	}
	return s + "; a smaller --batch-size or --seq-len, or in training --recompute on, would make it fit"
}

func (e *OutOfMemoryError) Is(target error) bool { return target == ErrOutOfMemory }

// Bytes formats a size: "1.5 GiB".
func Bytes(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
