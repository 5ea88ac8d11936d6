// Package disk tells how much room there is.
package disk

import (
	"os"
	"path/filepath"
)

// Free is how many bytes the user may still write in a folder, or, where it is not there
// yet, in the nearest one above it; ok is false where the system does not tell.
func Free(path string) (bytes int64, ok bool) {
	path, err := filepath.Abs(path)
	if err != nil {
		return 0, false
	}
	for {
		if _, err := os.Stat(path); err == nil {
			return free(path)
		}
		above := filepath.Dir(path)
		if above == path {
			return 0, false
		}
		path = above
	}
}
