// Package durable writes files that survive a crash: their content and their names are
// synced to disk.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile writes a file and syncs its content.
func WriteFile(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Remove removes a file; a file that does not exist is not an error.
func Remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// MkdirAll makes a folder and syncs its name.
func MkdirAll(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return SyncDir(path)
}

// SyncFiles syncs every file of a folder, and their names.
func SyncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0) // Windows cannot sync files opened read-only
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return SyncDir(dir)
}
