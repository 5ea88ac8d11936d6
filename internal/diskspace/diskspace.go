// Package diskspace tells how much of a disk is free.
package diskspace

import (
	"math"
	"os"
	"path/filepath"
)

// Free returns the bytes that an ordinary user may still write below a folder, which need
// not be there yet; math.MaxInt64 where the system does not tell.
func Free(dir string) int64 {
	path, err := filepath.Abs(dir)
	if err != nil {
		return math.MaxInt64
	}
	for {
		if _, err := os.Stat(path); err == nil {
			return free(path)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return math.MaxInt64
		}
		path = parent
	}
}
