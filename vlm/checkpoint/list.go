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

// Names in the checkpoints' folder. What begins with a dot is left over where a
// run was killed, and goes with the next saving.
const (
	stepPrefix    = "step-"
	brokenPrefix  = "broken-" // before step-N: set aside, a good one took its place
	writingPrefix = ".writing-"
	oldPrefix     = ".old-" // being removed
)

// List lists the checkpoints in a folder, oldest first. A folder that does not exist has none.
func List(dir string) ([]string, error) { return stepsOf(dir, stepPrefix) }

// Names is List where a folder that cannot be read counts as empty.
func Names(dir string) []string {
	all, _ := List(dir)
	return all
}

func stepsOf(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir) // the folder's name may be a pattern, so that Glob would not find it
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

// Step is a checkpoint's step by its name, -1 for any other.
func Step(path string) int {
	digits, ok := strings.CutPrefix(strings.TrimPrefix(filepath.Base(path), brokenPrefix), stepPrefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return -1
	}
	return n
}

// NoGoodCheckpointError says that a run has checkpoints, and can resume from none of them.
type NoGoodCheckpointError struct {
	Dir    string
	Damage []error // newest first
}

func (e *NoGoodCheckpointError) Error() string {
	var reasons []string
	for _, err := range e.Damage {
		reasons = append(reasons, err.Error())
	}
	return fmt.Sprintf("no checkpoint in %s can be resumed from: %s; bring one back from a copy, or move the folder away and --resume from the start",
		e.Dir, strings.Join(reasons, "; "))
}

// Newest is the checkpoint that a run resumes from. S is the run's trainer.json.
type Newest[S any] struct {
	Dir     string // the newest good checkpoint; "" where there is none at all
	State   S
	Damaged []Damaged // newer ones
}

// Damaged is a checkpoint that a run cannot resume from.
type Damaged struct {
	Dir string
	Err error
}

// NewestGood looks for the newest checkpoint that is whole. It changes nothing.
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

// Quarantine renames a broken checkpoint, so that its step can be saved again and it
// is not counted among the good ones.
func Quarantine(path string) error {
	aside := filepath.Join(filepath.Dir(path), brokenPrefix+filepath.Base(path))
	return errors.Join(os.RemoveAll(aside), os.Rename(path, aside), durable.SyncDir(filepath.Dir(path)))
}

// Prune removes all but the newest checkpoints and the best, broken ones whose step
// has been saved again or passed, and what an interrupted writing left.
func Prune(dir string, keep int) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return Sweep(dir)
	}
	var errs []error
	best := Best(all)
	for _, path := range all[:max(0, len(all)-keep)] {
		if path != best { // a renaming is whole or not done, unlike a removal
			errs = append(errs, os.Rename(path, filepath.Join(dir, oldPrefix+filepath.Base(path))))
		}
	}
	broken, err := stepsOf(dir, brokenPrefix+stepPrefix)
	errs = append(errs, err)
	for _, path := range broken {
		if Step(path) <= Step(all[len(all)-1]) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(append(errs, Sweep(dir))...)
}

// Sweep removes what an interrupted writing or removal left.
func Sweep(dir string) error {
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

// Best is the checkpoint with the least validation loss, the first of equals, which
// is the nearest to the validation; "" where none was validated.
func Best(all []string) string {
	least, path := jsonfloat.Float(0), ""
	for _, c := range all {
		var s Header
		if err := ReadState(c, &s); err != nil || s.ValStep == 0 || !s.ValLoss.Finite() {
			continue
		}
		if path == "" || s.ValLoss < least {
			least, path = s.ValLoss, c
		}
	}
	return path
}
