// Package wholefile writes files that have their name when they are whole.
package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Suffix is behind the name of a file that is being written. One that a process which was
// killed has left is replaced by the next writing.
const Suffix = ".tmp"

// Write writes a file beside its name and renames it. What had the name before stays as it
// was when that fails, or is cut short. A device, such as /dev/stdout, is written to.
func Write(path string, data []byte) error {
	info, err := os.Stat(path) // links followed
	switch {
	case err == nil && !info.Mode().IsRegular(): // a folder is refused by its own error
		return os.WriteFile(path, data, 0o644)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at // the link stays one
	}
	temp := path + Suffix
	if err := create(temp, data); err != nil {
		return errors.Join(err, remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

func create(path string, data []byte) error {
	if err := remove(path); err != nil { // nobody's link is written through
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes a name lasting, where the system can.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
