//go:build unix

package durable

import (
	"errors"
	"os"
)

// SyncDir syncs the names created, renamed or removed in a folder.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
