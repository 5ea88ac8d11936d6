package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/durable"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
)

const (
	FirstMomentsFile  = "optimizer_m.safetensors"
	SecondMomentsFile = "optimizer_v.safetensors"
	StateFile         = "trainer.json"

	// Format is the newest form of a checkpoint.
	Format = 1
)

// Header is the part of a checkpoint's trainer.json that does not depend on how a run trains.
type Header struct {
	Format  int             `json:"format"` // Format; 0 before there were sums
	Step    int             `json:"step"`
	ValLoss jsonfloat.Float `json:"val_loss"` // of the last validation
	ValStep int             `json:"val_step"` // which it was after; 0 = there was none
}

// Checkpoint is all of a run's state after a step.
type Checkpoint struct {
	Model     *vlm.Model
	Processor *vlm.Processor
	Step      int
	State     any // trainer.json, a struct that embeds Header
	Values    pretrained.TensorValues
}

// Bytes is what a model's checkpoint takes on disk, but for its small files.
func Bytes(m *vlm.Model) (n int64) {
	for _, b := range []*engine.Buffer{m.Params.Weights, m.Params.M, m.Params.V} {
		n += b.Bytes
	}
	return n
}

// Save writes the checkpoint beside the others, with sums of its files, syncs it,
// and only then gives it its name: one that has its name is whole.
func (c *Checkpoint) Save(dir string) (err error) {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	final := filepath.Join(dir, fmt.Sprintf("step-%06d", c.Step))
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
	return durable.SyncDir(dir)
}

func (c *Checkpoint) write(dir string) error {
	if err := pretrained.SaveConfig(c.Model, c.Processor, dir); err != nil {
		return err
	}
	for _, part := range parts(c.Model) {
		if err := pretrained.WriteTensors(c.Model, part.buffer, filepath.Join(dir, part.file), FiniteOnly(c.Values)); err != nil {
			return err
		}
	}
	if err := pretrained.WriteJSON(filepath.Join(dir, StateFile), c.State); err != nil {
		return err
	}
	return writeSums(dir)
}

// part is a buffer of the parameters and its file in a checkpoint.
type part struct {
	buffer *engine.Buffer
	file   string
}

func parts(m *vlm.Model) []part {
	return []part{{m.Params.Weights, pretrained.WeightsFile}, {m.Params.M, FirstMomentsFile}, {m.Params.V, SecondMomentsFile}}
}

// Restore reads a checkpoint's weights and moments onto the device.
func Restore(m *vlm.Model, dev engine.Device, dir string) error {
	for _, part := range parts(m) {
		if err := pretrained.ReadTensors(m, dev, part.buffer, filepath.Join(dir, part.file)); err != nil {
			return err
		}
	}
	return nil
}

// ReadState reads a checkpoint's trainer.json.
func ReadState(dir string, state any) error {
	data, err := smallfile.Read(filepath.Join(dir, StateFile), smallfile.Config)
	if err != nil {
		return damage(dir, StateFile, err)
	}
	if err := json.Unmarshal(data, state); err != nil {
		return damage(dir, StateFile, err)
	}
	return nil
}

// Check reads a checkpoint's trainer.json into state; a *DamageError says what is
// wrong with the checkpoint. One of format 0 has no sums: its files must be there, and whole as
// far as their headers show.
func Check(ctx context.Context, dir string, state any) error {
	_, missing := os.Stat(filepath.Join(dir, SumsFile))
	if missing == nil {
		if _, err := CheckSums(ctx, dir); err != nil {
			return err
		}
	}
	var h Header
	err := ReadState(dir, &h)
	if err == nil {
		err = ReadState(dir, state)
	}
	switch {
	case err != nil:
		return err
	case h.Format > Format:
		return fmt.Errorf("%s: it is of format %d, this vlmtool reads up to %d", dir, h.Format, Format)
	case missing != nil && h.Format > 0:
		return damage(dir, SumsFile, missing)
	case missing == nil:
		return nil
	}
	if _, _, err := pretrained.OpenFolder(dir); err != nil {
		return damage(dir, "", err)
	}
	for _, file := range []string{pretrained.WeightsFile, FirstMomentsFile, SecondMomentsFile} {
		f, err := safetensors.Open(filepath.Join(dir, file))
		if err != nil {
			return damage(dir, file, err)
		}
		if err := f.Close(); err != nil {
			return damage(dir, file, err)
		}
	}
	return nil
}
