//go:build unix

package vlm

import (
	"errors"
	"os"
)

// syncDir makes what was created and renamed in a folder lasting.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
