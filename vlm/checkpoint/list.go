package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"patchwork/internal/durable"
	"patchwork/internal/jsonfloat"
)

// Name prefixes in the checkpoints folder. Folders that start with a dot were left by a killed run
// and are removed by the next save.
const (
	stepPrefix    = "step-"
	brokenPrefix  = "broken-" // quarantined step-N, which may be saved again
	writingPrefix = ".writing-"
	oldPrefix     = ".old-" // being removed
)

// List returns the checkpoints in a folder, oldest first. A folder that does not exist has none.
func List(dir string) ([]string, error) { return listSteps(dir, stepPrefix) }

// Names is List, but treats a folder that cannot be read as empty.
func Names(dir string) []string {
	all, _ := List(dir)
	return all
}

// listSteps returns the folders with a prefix and a step number, in order of steps.
func listSteps(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir) // not Glob: dir may contain glob characters
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), prefix) && Step(path) >= 0 {
			found = append(found, path)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(Step(a), Step(b)) })
	return found, nil
}

// Step returns the step in a checkpoint's name, or -1.
func Step(path string) int {
	digits, ok := strings.CutPrefix(strings.TrimPrefix(filepath.Base(path), brokenPrefix), stepPrefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return -1
	}
	return n
}

// NoGoodCheckpointError reports that all checkpoints of a run are damaged.
type NoGoodCheckpointError struct {
	Dir    string
	Damage []error // newest first
}

func (e *NoGoodCheckpointError) Error() string {
	var reasons []string
	for _, err := range e.Damage {
		reasons = append(reasons, err.Error())
	}
	return fmt.Sprintf("all checkpoints in %s are damaged: %s; restore one from a backup, or move the folder away and --resume from the start",
		e.Dir, strings.Join(reasons, "; "))
}

// Newest is the checkpoint that a run resumes from. S is the type of its trainer.json.
type Newest[S any] struct {
	Dir     string // the newest good checkpoint; "" = none
	State   S
	Damaged []Damaged // damaged checkpoints that are newer than Dir
}

// Damaged is a damaged checkpoint.
type Damaged struct {
	Dir string
	Err error
}

// NewestGood finds the newest checkpoint that passes Check. It changes nothing on disk.
func NewestGood[S any](ctx context.Context, dir string) (Newest[S], error) {
	var r Newest[S]
	all, err := List(dir)
	if err != nil {
		return r, err
	}
	for _, path := range slices.Backward(all) {
		var state S
		err := Check(ctx, path, &state)
		if err == nil {
			r.Dir, r.State = path, state
			return r, nil
		}
		var damaged *DamageError
		if !errors.As(err, &damaged) {
			return r, err
		}
		r.Damaged = append(r.Damaged, Damaged{path, err})
	}
	if len(all) > 0 {
		e := &NoGoodCheckpointError{Dir: dir}
		for _, d := range r.Damaged {
			e.Damage = append(e.Damage, d.Err)
		}
		return r, e
	}
	return r, nil
}

// Quarantine renames a damaged checkpoint, so that its step can be saved again.
func Quarantine(path string) error {
	broken := filepath.Join(filepath.Dir(path), brokenPrefix+filepath.Base(path))
	return errors.Join(os.RemoveAll(broken), os.Rename(path, broken), durable.SyncDir(filepath.Dir(path)))
}

// Prune removes all checkpoints except the newest keep and the best, quarantined ones up to the
// newest step, and leftovers.
func Prune(dir string, keep int) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return RemoveLeftovers(dir)
	}
	var errs []error
	best := Best(all)
	for _, path := range all[:max(0, len(all)-keep)] {
		if path != best { // renaming is atomic, removing is not
			errs = append(errs, os.Rename(path, filepath.Join(dir, oldPrefix+filepath.Base(path))))
		}
	}
	broken, err := listSteps(dir, brokenPrefix+stepPrefix)
	errs = append(errs, err)
	for _, path := range broken {
		if Step(path) <= Step(all[len(all)-1]) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(append(errs, RemoveLeftovers(dir))...)
}

// RemoveLeftovers removes the folders of interrupted saves and removals.
func RemoveLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), writingPrefix) || strings.HasPrefix(e.Name(), oldPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Best returns the checkpoint with the lowest validation loss, the first if several are equal,
// which is the closest to that validation; "" if none was validated.
func Best(all []string) string {
	lowest, path := jsonfloat.Float(0), ""
	for _, c := range all {
		var s Header
		if err := ReadState(c, &s); err != nil || s.ValStep == 0 || !s.ValLoss.Finite() {
			continue
		}
		if path == "" || s.ValLoss < lowest {
			lowest, path = s.ValLoss, c
		}
	}
	return path
}
