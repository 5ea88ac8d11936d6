package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/internal/durable"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/pretrained"
)

// A run with an adapter trains the adapter, the embedder and the connector on a frozen base: the
// model or decoder that the run starts from. Its checkpoints have only what is trained.

// adapterFolder is the folder of a finished run's adapter.
const adapterFolder = "adapter"

// baseOptions are how the base of an adapter is stored.
func (r *Recipe) baseOptions() pretrained.LoadOptions {
	return pretrained.LoadOptions{Type: r.storage(), Weights: r.BaseWeights}
}

// checkAdapter returns an error for settings of an adapter that are not valid.
func (r *Recipe) checkAdapter() error {
	if r.Adapter == nil {
		if r.BaseWeights != "" {
			return errors.New("--weights is for the frozen base of an adapter; give --lora-rank too")
		}
		return nil
	}
	if err := r.Adapter.Check(); err != nil {
		return fmt.Errorf("--lora-rank, --lora-alpha, --lora-targets: %w", err)
	}
	return r.baseOptions().Check()
}

// basePath is the path of the base, which a run with an adapter needs.
func (t *trainer) basePath() (string, error) {
	if t.Model == "" && t.Decoder == "" {
		return "", errors.New("--lora-rank trains an adapter of a model: name it with --model, or a decoder with --decoder")
	}
	if t.Decoder != "" && !t.Recipe.Audio.None() {
		return "", errors.New("--lora-rank cannot teach a decoder to hear: train it with --decoder alone, then name that model with --model")
	}
	return t.Decoder + t.Model, nil // one of them is empty
}

// adaptModel gives a model that is trained already an adapter.
func (t *trainer) adaptModel() error {
	if t.model.Config.Adapter != nil {
		return fmt.Errorf("%s has only an adapter's weights; merge them first: vlmtool export --merge", t.Model)
	}
	if t.Recipe.Adapter == nil {
		return nil
	}
	c := t.model.Config
	c.Adapter = t.Recipe.Adapter
	m, err := vlm.NewModel(c, t.Recipe.Init)
	t.model = m
	return err
}

// openBase opens the base of an adapter and sets how it is stored.
func (t *trainer) openBase() (err error) {
	if t.Recipe.Adapter == nil {
		return nil
	}
	path, err := t.basePath()
	if err != nil {
		return err
	}
	if t.Decoder != "" {
		t.base, err = pretrained.Open(path)
	} else {
		t.base, err = pretrained.OpenParts(path, t.MMProj)
	}
	if err != nil {
		return err
	}
	if err := t.base.Check(t.model); err != nil {
		return err
	}
	t.Recipe.baseOptions().StoreBase(t.model, t.base)
	return nil
}

// describeBase describes the base for the adapter's folder.
func (t *trainer) describeBase() (pretrained.Base, error) {
	fingerprint, err := t.base.Fingerprint()
	b := pretrained.Base{Path: t.base.Path, Fingerprint: fingerprint}
	if err != nil || t.Decoder == "" {
		return b, err
	}
	own, err := t.base.Processor(t.Recipe.Vision.Patches())
	if err == nil && own.AddedImageToken {
		b.ImageToken = &pretrained.ImageToken{Seed: t.Recipe.Seed, Std: t.Recipe.Init.Embedding}
	}
	return b, err
}

// loadBase reads the base on every rank, and gives what is trained its first values: the embedder
// is that of a model, or random beside a decoder.
func (t *trainer) loadBase() error {
	base, err := t.describeBase()
	if err != nil {
		return err
	}
	if err := t.base.LoadBase(t.Device, t.model, t.processor, base); err != nil {
		return err
	}
	groups := []string{vlm.GroupAdapter}
	if t.Decoder != "" {
		groups = append(groups, vlm.GroupEmbedder)
	}
	return t.model.Params.Initialise(t.Device, t.Recipe.Seed, groups...)
}

// writeAdapter writes the adapter's folder, which appears when it is complete.
func (t *trainer) writeAdapter() error {
	temp, out := filepath.Join(t.Out, modelTemp), filepath.Join(t.Out, adapterFolder)
	base, err := t.describeBase()
	if err != nil {
		return err
	}
	err = pretrained.SaveAdapter(t.model, t.processor, base, temp, checkpoint.FiniteOnly(pretrained.ValuesOn(t.model, t.Device)))
	if err == nil {
		err = durable.SyncFiles(temp)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	if err := os.Rename(temp, out); err != nil {
		return err
	}
	return durable.SyncDir(t.Out)
}
