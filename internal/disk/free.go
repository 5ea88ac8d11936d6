// Package disk returns the free space of disks.
package disk

import (
	"os"
	"path/filepath"
)

// Free returns the bytes available to the user on the disk of a path, or of its nearest existing
// parent; ok is false if the system does not report it.
func Free(path string) (bytes int64, ok bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return 0, false
	}
	for {
		if _, err := os.Stat(path); err == nil {
			return free(path)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return 0, false
		}
		path = parent
	}
}
