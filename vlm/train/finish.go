package train

import (
	"errors"
	"os"
	"path/filepath"

	"patchwork/internal/durable"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/pretrained"
)

// finish writes the trained model into the run's folder.
func (t *trainer) finish() error {
	if err := t.stats.Check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	t.note("data: %s", t.stats)
	t.plot()
	if err := t.writeModel(); err != nil {
		return t.stopped(&SaveError{"the trained model", t.model.Params.Weights.Bytes, err})
	}
	return nil
}

// modelTemp is where the trained model is written before its files get their names.
const modelTemp = ".model"

// writeModel gives the weights their name last, since they say that the run is
// finished.
func (t *trainer) writeModel() error {
	temp := filepath.Join(t.Out, modelTemp)
	if err := pretrained.Save(t.model, t.processor, temp, checkpoint.FiniteOnly(pretrained.ValuesOn(t.model, t.Device))); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return pretrained.MoveFiles(temp, t.Out)
}

// clean removes what a run that was killed has left in its folder.
func (t *trainer) clean() error {
	err := errors.Join(os.RemoveAll(filepath.Join(t.Out, modelTemp)), checkpoint.Sweep(t.saver.dir))
	for _, name := range []string{"run.json", "metrics.jsonl", "loss.png"} {
		err = errors.Join(err, durable.Remove(filepath.Join(t.Out, name+durable.TempSuffix)))
	}
	return err
}
