package pretrained

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patchwork/internal/durable"
	"patchwork/internal/folderlock"
)

// exportTemp is where an export is written before its files get their names. Where there
// is one without weights beside it, an export was killed.
const exportTemp = ".export"

// exportNames are the files of an export, the weights besides.
var exportNames = []string{
	"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
}

// ErrOutNotEmpty is an output folder that holds something.
var ErrNotEmpty = errors.New("is not empty; give another --out")

// CheckOut refuses a folder that holds something, unless a killed export left it.
func CheckOut(out string) error {
	_, err := exportLeftovers(out)
	return err
}

// exportLeftovers are the paths that a killed export has left in a folder that holds
// nothing else.
func exportLeftovers(out string) ([]string, error) {
	entries, err := os.ReadDir(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	killed := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == exportTemp && e.IsDir() })
	var left []string
	for _, e := range entries {
		switch {
		case e.Name() == folderlock.Name:
		case killed && (e.Name() == exportTemp || slices.Contains(exportNames, e.Name()) && e.Type().IsRegular()):
			left = append(left, filepath.Join(out, e.Name()))
		default:
			return nil, fmt.Errorf("%s %w", out, ErrNotEmpty)
		}
	}
	return left, nil
}

// writeExport lets write fill a folder, and gives its files their names in out when they
// are whole, the weights last: a folder with weights is a whole model.
func writeExport(out string, write func(dir string) error) (err error) {
	made := false
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	lock, err := folderlock.Take(out)
	if errors.Is(err, folderlock.ErrBusy) {
		return fmt.Errorf("%s: %w", out, folderlock.ErrBusy)
	} else if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, lock.Remove())
		if err != nil && made {
			os.Remove(out) // where it is empty
		}
	}()
	left, err := exportLeftovers(out)
	if err != nil {
		return err
	}
	for i := len(left) - 1; i >= 0; i-- { // the folder, which marks them, last
		if err := os.RemoveAll(left[i]); err != nil {
			return err
		}
	}
	temp := filepath.Join(out, exportTemp)
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	if err := write(temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return MoveFiles(temp, out)
}

// MoveFiles syncs a model's files, moves them from a folder into one above it, the weights
// last, and removes the empty folder.
func MoveFiles(temp, out string) error {
	if err := durable.SyncFiles(temp); err != nil {
		return err
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	move := func(name string) error { return os.Rename(filepath.Join(temp, name), filepath.Join(out, name)) }
	for _, e := range entries {
		if e.Name() == WeightsFile {
			continue
		}
		if err := move(e.Name()); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(out); err != nil {
		return err
	}
	return errors.Join(move(WeightsFile), os.Remove(temp), durable.SyncDir(out))
}
