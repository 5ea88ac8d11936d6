package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix ends the name of a file that is being written. One left by a killed process is
// replaced by the next writer.
const TempSuffix = ".tmp"

// Replace writes a file at once, as File does.
func Replace(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Discard())
	}
	return f.Commit()
}

// A File is written under a temporary name, synced and renamed to its path, so that the path
// always holds the old content or the new. Commit or Discard must be called.
type File struct {
	file *os.File
	path string // "" for a device
}

// Create creates the temporary file of path. A symbolic link is followed; a device, such as
// /dev/stdout, is written to directly.
func Create(path string) (*File, error) {
	info, err := os.Stat(path) // links followed
	switch {
	case err == nil && !info.Mode().IsRegular(): // open returns the error for a folder
		return open(path, os.O_TRUNC, "")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at // replace the target, not the link
	}
	temp := path + TempSuffix
	if err := Remove(temp); err != nil { // do not write through a link
		return nil, err
	}
	return open(temp, os.O_EXCL, path)
}

func open(name string, flag int, path string) (*File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|flag, 0o644)
	if err != nil {
		return nil, err
	}
	return &File{f, path}, nil
}

// Write writes to the temporary file.
func (f *File) Write(data []byte) (int, error) { return f.file.Write(data) }

// Commit syncs the file and renames it to its path. A file that cannot be renamed is removed.
func (f *File) Commit() error {
	if f.path == "" {
		return f.file.Close()
	}
	if err := errors.Join(f.file.Sync(), f.file.Close()); err != nil {
		return errors.Join(err, Remove(f.file.Name()))
	}
	if err := os.Rename(f.file.Name(), f.path); err != nil {
		return errors.Join(err, Remove(f.file.Name()))
	}
	return SyncDir(filepath.Dir(f.path))
}

// Discard removes the temporary file.
func (f *File) Discard() error {
	if err := f.file.Close(); err != nil || f.path == "" {
		return err
	}
	return Remove(f.file.Name())
}
