package vlm

import (
	"errors"
	"os"
	"path/filepath"
)

// tempSuffix is behind the name of a file that is being written.
const tempSuffix = ".tmp"

// writeFile writes a file and makes it lasting.
func writeFile(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceFile writes a file that is there as it was, or as it is to be, whenever the
// machine stops.
func replaceFile(path string, data []byte) error {
	temp := path + tempSuffix
	if err := writeFile(temp, data); err != nil {
		return errors.Join(err, remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

// remove takes it well when the file is not there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir makes a folder, and makes its name lasting.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncFiles makes every file of a folder, and their names, lasting.
func syncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0) // Windows syncs no file that is open for reading
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return syncDir(dir)
}
