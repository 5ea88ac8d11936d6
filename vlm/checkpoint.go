package vlm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
)

// trainerState is checkpoints/step-N/trainer.json: all of a run's state that is
// no tensor.
type trainerState struct {
	Format  int     `json:"format"` // checkpointFormat; 0 before there were sums
	Step    int     `json:"step"`
	Cursor  Cursor  `json:"cursor"` // behind the last batch consumed
	Tokens  int64   `json:"tokens"`
	Seconds float64 `json:"seconds"`
	Skipped int     `json:"skipped_steps"` // gradients were not finite
	ValLoss Figure  `json:"val_loss"`      // of the last validation
	ValStep int     `json:"val_step"`      // which it was after; 0 = there was none
	// LeftOut is how many of a learning-rate group's steps the optimiser left out, which
	// its bias corrections do not count.
	LeftOut map[string]int `json:"left_out,omitempty"`
	LossScale
	Device string `json:"device"`
	Driver string `json:"driver"`
}

const (
	momentsFile1 = "optimizer_m.safetensors"
	momentsFile2 = "optimizer_v.safetensors"
	stateFile    = "trainer.json"

	checkpointFormat = 1
)

// checkpoint is all of a run's state after a step.
type checkpoint struct {
	model    *Model
	language *Language
	state    trainerState
	values   tensorValues
}

// checkpointBytes is what a checkpoint takes on disk, but for its small files.
func (m *Model) checkpointBytes() (n int64) {
	for _, b := range []*engine.Buffer{m.Params.Weights, m.Params.M, m.Params.V} {
		n += b.Bytes
	}
	return n
}

// save writes the checkpoint beside the others, with sums of its files, syncs it,
// and only then gives it its name: one that has its name is whole.
func (c *checkpoint) save(dir string) (err error) {
	if err := makeDir(dir); err != nil {
		return err
	}
	final := filepath.Join(dir, fmt.Sprintf("step-%06d", c.state.Step))
	if _, err := os.Stat(final); err == nil {
		return nil // the one that the run went on from
	}
	temp, err := os.MkdirTemp(dir, writingPrefix)
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
	if err := c.write(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return err
	}
	return syncDir(dir)
}

func (c *checkpoint) write(dir string) error {
	if err := c.model.saveSmall(c.language, dir); err != nil {
		return err
	}
	for _, part := range c.model.parts() {
		if err := c.model.writeTensors(part.buffer, filepath.Join(dir, part.file), c.values.finite()); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(dir, stateFile), c.state); err != nil {
		return err
	}
	return writeSums(dir)
}

// part is a buffer of the parameters and its file in a checkpoint.
type part struct {
	buffer *engine.Buffer
	file   string
}

func (m *Model) parts() []part {
	return []part{{m.Params.Weights, weightsFile}, {m.Params.M, momentsFile1}, {m.Params.V, momentsFile2}}
}

// loadCheckpoint brings a checkpoint's weights and moments back.
func (m *Model) loadCheckpoint(dev engine.Device, dir string) error {
	for _, part := range m.parts() {
		if err := m.readTensors(dev, part.buffer, filepath.Join(dir, part.file)); err != nil {
			return err
		}
	}
	return nil
}

// readState reads a checkpoint's trainer.json.
func readState(dir string) (s trainerState, err error) {
	data, err := smallfile.Read(filepath.Join(dir, stateFile), smallfile.Config)
	if err != nil {
		return s, damage(dir, stateFile, err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, damage(dir, stateFile, err)
	}
	return s, nil
}

// checkCheckpoint says by a *DamageError what is wrong with a checkpoint. One of the
// older form has no sums: its files must be there and whole, as far as they say.
func checkCheckpoint(ctx context.Context, dir string) (trainerState, error) {
	_, missing := os.Stat(filepath.Join(dir, sumsFile))
	if missing == nil {
		if _, err := CheckSums(ctx, dir); err != nil {
			return trainerState{}, err
		}
	}
	s, err := readState(dir)
	switch {
	case err != nil:
		return s, err
	case s.Format > checkpointFormat:
		return s, fmt.Errorf("%s: it is of format %d, this vlmtool reads up to %d", dir, s.Format, checkpointFormat)
	case missing != nil && s.Format > 0:
		return s, damage(dir, sumsFile, missing)
	case missing == nil:
		return s, nil
	}
	if _, _, err := openModel(dir); err != nil {
		return s, damage(dir, "", err)
	}
	for _, file := range []string{weightsFile, momentsFile1, momentsFile2} {
		f, err := safetensors.Open(filepath.Join(dir, file))
		if err != nil {
			return s, damage(dir, file, err)
		}
		if err := f.Close(); err != nil {
			return s, damage(dir, file, err)
		}
	}
	return s, nil
}
