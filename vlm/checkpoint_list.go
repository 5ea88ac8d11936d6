package vlm

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
)

// Names in the checkpoints' folder. What begins with a dot is left over where a
// run was killed, and goes with the next saving.
const (
	stepPrefix    = "step-"
	brokenPrefix  = "broken-" // before step-N: set aside, a good one took its place
	writingPrefix = ".writing-"
	oldPrefix     = ".old-" // being removed
)

// checkpoints lists those that have a name, oldest first.
func checkpoints(dir string) []string {
	all, _ := listCheckpoints(dir)
	return all
}

// listCheckpoints is checkpoints where it matters that a folder cannot be read.
func listCheckpoints(dir string) ([]string, error) { return stepsOf(dir, stepPrefix) }

func stepsOf(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir) // the folder's name may be a pattern, so that Glob would not find it
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), prefix) && stepOf(path) >= 0 {
			found = append(found, path)
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(stepOf(a), stepOf(b)) })
	return found, nil
}

// stepOf is a checkpoint's step by its name, -1 for any other.
func stepOf(path string) int {
	digits, ok := strings.CutPrefix(strings.TrimPrefix(filepath.Base(path), brokenPrefix), stepPrefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return -1
	}
	return n
}

// NoGoodCheckpointError says that a run has checkpoints, and that none can be gone
// on from.
type NoGoodCheckpointError struct {
	Dir    string
	Damage []error // newest first
}

func (e *NoGoodCheckpointError) Error() string {
	var reasons []string
	for _, err := range e.Damage {
		reasons = append(reasons, err.Error())
	}
	return fmt.Sprintf("no checkpoint in %s can be gone on from: %s; bring one back from a copy, or move the folder away and --resume from the start",
		e.Dir, strings.Join(reasons, "; "))
}

// savedRun is what a resumed run goes on from.
type savedRun struct {
	dir    string // the newest good checkpoint; "" where there is none at all
	state  trainerState
	broken []string // newer ones
	damage []error  // of each
}

// newestGood looks for the newest checkpoint that is whole. It changes nothing.
func newestGood(ctx context.Context, dir string) (savedRun, error) {
	var r savedRun
	all, err := listCheckpoints(dir)
	if err != nil {
		return r, err
	}
	for _, path := range slices.Backward(all) {
		state, err := checkCheckpoint(ctx, path)
		if err == nil {
			r.dir, r.state = path, state
			return r, nil
		}
		var damaged *DamageError
		if !errors.As(err, &damaged) {
			return r, err
		}
		r.broken, r.damage = append(r.broken, path), append(r.damage, err)
	}
	if len(all) > 0 {
		return r, &NoGoodCheckpointError{dir, r.damage}
	}
	return r, nil
}

// setAside renames a broken checkpoint, so that its step can be saved again and it
// is not counted among the good ones.
func setAside(path string) error {
	aside := filepath.Join(filepath.Dir(path), brokenPrefix+filepath.Base(path))
	return errors.Join(os.RemoveAll(aside), os.Rename(path, aside), syncDir(filepath.Dir(path)))
}

// prune removes all but the newest checkpoints and the best, broken ones whose step
// has been saved again or passed, and what an interrupted writing left.
func prune(dir string, keep int) error {
	all, err := listCheckpoints(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return sweep(dir)
	}
	var errs []error
	best := bestOf(all)
	for _, path := range all[:max(0, len(all)-keep)] {
		if path != best { // a renaming is whole or not done, unlike a removal
			errs = append(errs, os.Rename(path, filepath.Join(dir, oldPrefix+filepath.Base(path))))
		}
	}
	broken, err := stepsOf(dir, brokenPrefix+stepPrefix)
	errs = append(errs, err)
	for _, path := range broken {
		if stepOf(path) <= stepOf(all[len(all)-1]) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(append(errs, sweep(dir))...)
}

// sweep removes what an interrupted writing or removal left.
func sweep(dir string) error {
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

// bestOf is the checkpoint with the least validation loss, the first of equals, which
// is the nearest to the validation; "" where none was validated.
func bestOf(all []string) string {
	least, path := Figure(0), ""
	for _, c := range all {
		s, err := readState(c)
		if err != nil || s.ValStep == 0 || !finite(float64(s.ValLoss)) {
			continue
		}
		if path == "" || s.ValLoss < least {
			least, path = s.ValLoss, c
		}
	}
	return path
}
