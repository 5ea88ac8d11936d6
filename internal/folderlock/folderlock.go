// Package folderlock locks a folder for one process by a lock on a file in it. The system
// releases the lock when the process ends, even if it is killed.
package folderlock

import (
	"errors"
	"os"
	"path/filepath"
)

// Name is the name of the lock file.
const Name = ".lock"

// ErrBusy reports a folder that is locked by another process.
var ErrBusy = errors.New("another process is using it")

// Lock is the lock on a folder.
type Lock struct{ file *os.File }

// Take locks an existing folder. The error is ErrBusy or that of the system.
func Take(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, Name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	// A process that has just ended may have removed or moved the file.
	if lockFile(f) != nil || !Named(f) {
		f.Close()
		return nil, ErrBusy
	}
	return &Lock{f}, nil
}

// Release unlocks the folder and keeps the lock file.
func (l *Lock) Release() error { return l.file.Close() }

// Remove unlocks the folder and removes the lock file.
func (l *Lock) Remove() error { return remove(l.file) }

// Named reports whether an open file still has the name that it was opened with.
func Named(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, now)
}
