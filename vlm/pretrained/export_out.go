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

// exportTemp is the folder in which an export is written before its files are moved. If it exists
// without weights next to it, an export was killed.
const exportTemp = ".export"

// exportNames are the files of an export other than weights.
var exportNames = []string{
	"config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
}

// ErrNotEmpty reports an output folder that is not empty.
var ErrNotEmpty = errors.New("is not empty; give another --out")

// CheckOut returns an error if the output folder is not empty. Leftovers of a killed export are
// allowed.
func CheckOut(out string) error {
	_, err := exportLeftovers(out)
	return err
}

// exportLeftovers returns the leftovers of a killed export, or an error if the folder has other
// files.
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

// writeExport calls write with a temporary folder and moves its files to out, the weights last: a
// folder with weights is a complete model.
func writeExport(out string, write func(dir string) error) (err error) {
	created := false
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		created = true
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
		if err != nil && created {
			os.Remove(out) // if it is empty
		}
	}()
	left, err := exportLeftovers(out)
	if err != nil {
		return err
	}
	for i := len(left) - 1; i >= 0; i-- { // in reverse: exportTemp, which sorts first, marks the others as leftovers
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

// MoveFiles syncs a model's files, moves them from temp to out, the weights last, and removes
// temp.
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
