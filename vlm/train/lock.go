package train

import (
	"errors"
	"fmt"
	"os"

	"patchwork/internal/folderlock"
)

// runLock is a folder that one run has for itself.
type runLock struct {
	*folderlock.Lock
	made  string   // the folder, where it was made by this run
	wrote []string // files of this run's making
}

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
	lock, err := folderlock.Take(out)
	if errors.Is(err, folderlock.ErrBusy) {
		return nil, fmt.Errorf("%s: %w", out, ErrBusy)
	} else if err != nil {
		return nil, err
	}
	l.Lock = lock
	return l, nil
}

func (l *runLock) release() { l.Release() }

// abandon removes what a run that could not start has made.
func (l *runLock) abandon() error {
	var err error
	for _, path := range l.wrote {
		err = errors.Join(err, os.Remove(path))
	}
	err = errors.Join(err, l.Remove())
	if l.made != "" {
		err = errors.Join(err, os.Remove(l.made))
	}
	return err
}
