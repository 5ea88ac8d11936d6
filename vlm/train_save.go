package vlm

import (
	"errors"
	"os"
	"path/filepath"
)

func (t *trainer) checkpoint() error {
	if t.state.Step == 0 {
		return nil
	}
	info := t.Device.Info()
	t.state.Device, t.state.Driver, t.state.LossScale = info.Device, info.Arithmetic(), t.stepper.LossScale
	return t.model.saveCheckpoint(t.Device, t.language, filepath.Join(t.Out, "checkpoints"), t.state)
}

// finish writes the trained model into the run's folder.
func (t *trainer) finish() error {
	if err := t.tally.check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	t.note("data: %s", t.tally)
	if err := plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics); err != nil {
		return err
	}
	temp := filepath.Join(t.Out, ".model")
	if err := t.model.save(t.Device, t.language, temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(temp, e.Name()), filepath.Join(t.Out, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(os.Remove(temp), syncDir(t.Out))
}
