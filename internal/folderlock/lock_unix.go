//go:build unix

package folderlock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// remove removes the file while it is locked, so that another process cannot lock it in between.
func remove(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
