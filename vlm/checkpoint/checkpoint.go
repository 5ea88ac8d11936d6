// Package checkpoint writes, checks, lists and restores the checkpoints of a training run.
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

	// Format is the version of the checkpoint format.
	Format = 1
)

// Header is the part of trainer.json that does not depend on how a run trains.
type Header struct {
	Format  int             `json:"format"` // 0: written before there were checksums
	Step    int             `json:"step"`
	ValLoss jsonfloat.Float `json:"val_loss"` // of the last validation, in nats
	ValStep int             `json:"val_step"` // the step of the last validation; 0 = none
}

// Checkpoint is the state of a run after a step.
type Checkpoint struct {
	Model     *vlm.Model
	Processor *vlm.Processor
	Step      int
	State     any // trainer.json, a struct that embeds Header
	Values    pretrained.TensorValues
}

// Bytes returns the size of a model's checkpoint on disk, without its small files.
func Bytes(m *vlm.Model) (n int64) {
	for _, b := range []*engine.Buffer{m.Params.Weights, m.Params.M, m.Params.V} {
		for _, p := range m.Params.In(b) {
			n += p.Bytes()
		}
	}
	return n
}

// Save writes the checkpoint into a temporary folder of dir, with checksums, syncs it to disk, and
// then renames it, so that a folder with a checkpoint's name is always complete.
func (c *Checkpoint) Save(dir string) (err error) {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	final := filepath.Join(dir, fmt.Sprintf("step-%06d", c.Step))
	if _, err := os.Stat(final); err == nil {
		return nil // the run was resumed from it
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
	for _, t := range tensorFiles(c.Model) {
		if err := pretrained.WriteTensors(c.Model, t.buffer, filepath.Join(dir, t.file), FiniteOnly(c.Values)); err != nil {
			return err
		}
	}
	if err := pretrained.WriteJSON(filepath.Join(dir, StateFile), c.State); err != nil {
		return err
	}
	return writeSums(dir)
}

// stateTensors is a buffer of a model's parameters and its file in a checkpoint.
type stateTensors struct {
	buffer *engine.Buffer
	file   string
}

func tensorFiles(m *vlm.Model) []stateTensors {
	return []stateTensors{{m.Params.Weights, pretrained.WeightsFile}, {m.Params.M, FirstMomentsFile}, {m.Params.V, SecondMomentsFile}}
}

// Restore reads a checkpoint's weights and moments onto the device.
func Restore(m *vlm.Model, dev engine.Device, dir string) error {
	for _, t := range tensorFiles(m) {
		if err := pretrained.ReadTensors(m, dev, t.buffer, filepath.Join(dir, t.file)); err != nil {
			return err
		}
	}
	return nil
}

// ReadState reads a checkpoint's trainer.json into each of the states.
func ReadState(dir string, states ...any) error {
	data, err := smallfile.Read(filepath.Join(dir, StateFile), smallfile.Config)
	if err != nil {
		return readError(dir, StateFile, err)
	}
	for _, state := range states {
		if err := json.Unmarshal(data, state); err != nil {
			return readError(dir, StateFile, err)
		}
	}
	return nil
}

// Check verifies a checkpoint and reads its trainer.json into state. The error is a *DamageError
// if the checkpoint is damaged. A checkpoint of format 0 has no checksums: its files must exist
// and match their headers.
func Check(ctx context.Context, dir string, state any) error {
	_, missing := os.Stat(filepath.Join(dir, SumsFile))
	if missing == nil {
		if _, err := CheckSums(ctx, dir); err != nil {
			return err
		}
	}
	var h Header
	err := ReadState(dir, &h, state)
	switch {
	case err != nil:
		return err
	case h.Format > Format:
		return fmt.Errorf("%s is of format %d; this vlmtool reads up to %d", dir, h.Format, Format)
	case missing != nil && h.Format > 0:
		return readError(dir, SumsFile, missing)
	case missing == nil:
		return nil
	}
	if _, _, err := pretrained.OpenModel(dir); err != nil {
		return readError(dir, "", err)
	}
	for _, file := range []string{pretrained.WeightsFile, FirstMomentsFile, SecondMomentsFile} {
		f, err := safetensors.Open(filepath.Join(dir, file))
		if err != nil {
			return readError(dir, file, err)
		}
		if err := f.Close(); err != nil {
			return readError(dir, file, err)
		}
	}
	return nil
}
