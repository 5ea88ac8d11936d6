//go:build !unix && !windows

package folderlock

import (
	"errors"
	"os"
)

// lockFile does nothing on systems without locks on files.
func lockFile(*os.File) error { return nil }

func remove(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
