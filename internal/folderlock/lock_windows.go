package folderlock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks the first byte, which need not exist.
func lockFile(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
}

// remove unlocks and removes the file. Windows does not remove an open file: one that another
// process has opened since stays.
func remove(f *os.File) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return err
	}
	return nil
}
