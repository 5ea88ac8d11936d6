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

// Replace writes a temporary file, syncs it and renames it to path, so that path always
// holds the old content or the new. A symbolic link is followed; a device, such as
// /dev/stdout, is written to directly.
func Replace(path string, data []byte) error {
	info, err := os.Stat(path) // links followed
	switch {
	case err == nil && !info.Mode().IsRegular(): // WriteFile returns the error for a folder
		return os.WriteFile(path, data, 0o644)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at // replace the target, not the link
	}
	temp := path + TempSuffix
	if err := create(temp, data); err != nil {
		return errors.Join(err, Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, Remove(temp))
	}
	return SyncDir(filepath.Dir(path))
}

func create(path string, data []byte) error {
	if err := Remove(path); err != nil { // do not write through a link
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
