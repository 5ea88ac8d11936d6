package engine

import (
	"errors"
	"fmt"
)

var (
	// ErrDeviceLost means that the device stopped answering; nothing on it can
	// be read any more, and a run goes on from its last checkpoint.
	ErrDeviceLost = errors.New("device lost")

	// ErrUnsupported means that the device lacks what was asked for.
	ErrUnsupported = errors.New("unsupported")

	// ErrNoDevice means that there is no such device.
	ErrNoDevice = errors.New("no such device")
)

// OutOfMemoryError says how much was asked for and how much there is. A driver that
// runs out in the middle of its work tells neither: then What is empty.
type OutOfMemoryError struct {
	Device    string
	What      string // what the memory was for: "activations", "weights"
	Asked     int64  // bytes
	Available int64  // bytes, 0 where the device does not say
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
