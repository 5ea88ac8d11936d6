// Package folderlock gives a folder to one process at a time, by a lock on a file in it
// that the system takes back when the process ends, however.
package folderlock

import (
	"errors"
	"os"
	"path/filepath"
)

// Name is the lock's file.
const Name = ".lock"

// ErrBusy is a folder that another process has.
var ErrBusy = errors.New("another process is using it")

// Lock is a folder that this process has.
type Lock struct{ file *os.File }

// Take locks a folder that is there. The error is ErrBusy or the system's.
func Take(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, Name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	// One that ended meanwhile has removed or moved the file.
	if lockFile(f) != nil || !Named(f) {
		f.Close()
		return nil, ErrBusy
	}
	return &Lock{f}, nil
}

// Release gives the folder back; its lock's file stays.
func (l *Lock) Release() error { return l.file.Close() }

// Remove gives the folder back and removes the lock's file.
func (l *Lock) Remove() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}

// Named says whether an open file still has the name that it was opened by.
func Named(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, now)
}
