package vlm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/engine"
)

// trainerState is checkpoints/step-N/trainer.json: all of a run's state that is
// no tensor.
type trainerState struct {
	Step    int     `json:"step"`
	Cursor  Cursor  `json:"cursor"` // behind the last batch consumed
	Tokens  int64   `json:"tokens"`
	Seconds float64 `json:"seconds"`
	Skipped int     `json:"skipped_steps"` // gradients were not finite
	LossScale
	Device string `json:"device"`
	Driver string `json:"driver"`
}

const (
	momentsFile1 = "optimizer_m.safetensors"
	momentsFile2 = "optimizer_v.safetensors"
	stateFile    = "trainer.json"
	// keepCheckpoints is how many are kept: the newest and one before it.
	keepCheckpoints = 2
)

// saveCheckpoint writes a checkpoint beside the others, syncs it, and only then
// gives it its name: one that has its name is whole.
func (m *Model) saveCheckpoint(dev engine.Device, l *Language, dir string, s trainerState) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	final := filepath.Join(dir, fmt.Sprintf("step-%06d", s.Step))
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	temp, err := os.MkdirTemp(dir, ".writing-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
		}
	}()
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := m.save(dev, l, temp); err != nil {
		return err
	}
	if err := m.writeTensors(dev, m.Params.M, filepath.Join(temp, momentsFile1)); err != nil {
		return err
	}
	if err := m.writeTensors(dev, m.Params.V, filepath.Join(temp, momentsFile2)); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(temp, stateFile), s); err != nil {
		return err
	}
	if err := syncDir(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), prune(dir))
}

// syncDir makes what was created and renamed in a folder lasting.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkpoints lists the whole ones, oldest first.
func checkpoints(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "step-*", stateFile)) // the pattern is good
	slices.Sort(found)
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

// prune removes all but the newest checkpoints, and what an interrupted writing
// left.
func prune(dir string) error {
	all := checkpoints(dir)
	old := all[:max(0, len(all)-keepCheckpoints)]
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".writing-") {
			old = append(old, filepath.Join(dir, e.Name()))
		}
	}
	for _, path := range old {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// loadCheckpoint brings weights and moments back.
func (m *Model) loadCheckpoint(dev engine.Device, dir string) (trainerState, error) {
	var s trainerState
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", filepath.Join(dir, stateFile), err)
	}
	for _, part := range []struct {
		to   *engine.Buffer
		file string
	}{{m.Params.Weights, weightsFile}, {m.Params.M, momentsFile1}, {m.Params.V, momentsFile2}} {
		if err := m.readTensors(dev, part.to, filepath.Join(dir, part.file)); err != nil {
			return s, err
		}
	}
	return s, nil
}
