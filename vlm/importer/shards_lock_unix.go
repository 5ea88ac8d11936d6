//go:build unix

package importer

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes a lock that the system gives back when this process ends, however.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
