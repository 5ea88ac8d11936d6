package vlm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// runLock is a folder that one run has for itself.
type runLock struct {
	file  *os.File
	made  string   // the folder, where it was made by this run
	wrote []string // files of this run's making
}

const lockName = ".lock"

// ErrBusy is a folder that another run is using.
var ErrBusy = errors.New("another run is using it")

func lockRun(out string) (*runLock, error) {
	l := &runLock{}
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		l.made = out
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(out, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", out, ErrBusy)
	}
	if !named(f) { // a run that could not start has removed it meanwhile
		f.Close()
		return nil, fmt.Errorf("%s: %w", out, ErrBusy)
	}
	l.file = f
	return l, nil
}

// named says whether the open file still has its name.
func named(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, now)
}

func (l *runLock) release() { l.file.Close() }

// abandon removes what a run that could not start has made.
func (l *runLock) abandon() error {
	var err error
	for _, path := range append(l.wrote, l.file.Name()) {
		err = errors.Join(err, os.Remove(path))
	}
	if l.made != "" {
		err = errors.Join(err, os.Remove(l.made))
	}
	return err
}
