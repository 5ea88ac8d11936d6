package vlm

import (
	"errors"
	"os"
	"path/filepath"
)

// finish writes the trained model into the run's folder.
func (t *trainer) finish() error {
	if err := t.tally.check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	t.note("data: %s", t.tally)
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
	if err := t.model.saveValues(t.language, temp, t.model.valuesOn(t.Device).finite()); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return moveModel(temp, t.Out)
}

// clean removes what a run that was killed has left in its folder.
func (t *trainer) clean() error {
	err := errors.Join(os.RemoveAll(filepath.Join(t.Out, modelTemp)), sweep(t.saver.dir))
	for _, name := range []string{"run.json", "metrics.jsonl", "loss.png"} {
		err = errors.Join(err, remove(filepath.Join(t.Out, name+tempSuffix)))
	}
	return err
}
