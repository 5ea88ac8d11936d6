package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/durable"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/pretrained"
)

// StoppedError is the error of a run that failed midway.
type StoppedError struct {
	Err        error
	Step       int    // the last complete step
	Checkpoint string // the newest, which --resume starts from; "" = none
	ListErr    error  // set if the checkpoints could not be listed
}

func (e *StoppedError) Error() string {
	saved := "no checkpoint was saved yet"
	switch {
	case e.Checkpoint != "":
		saved = "the newest checkpoint is " + e.Checkpoint
	case e.ListErr != nil:
		saved = fmt.Sprintf("its checkpoints cannot be listed (%v); --resume starts from the newest", e.ListErr)
	}
	return fmt.Sprintf("stopped after step %d: %v; %s", e.Step, e.Err, saved)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// finalSaveError is the failure of the last save, which is not tried again.
type finalSaveError struct{ error }

func (e *finalSaveError) Unwrap() error { return e.error }

// stop ends a run that was interrupted or failed. An incomplete step does not count; the state
// before it is saved if it is still on the device.
func (t *trainer) stop(ctx context.Context, err error) error {
	t.World.Fail(err)
	// A state that is divided among ranks cannot be saved without one that failed.
	if t.World.Err() != nil && t.model.Params.MomentsSharded() {
		t.reportSaved(t.saver.wait())
		return t.stopped(err)
	}
	if t.leads() && !t.writes() {
		return cmp.Or(ctx.Err(), err)
	}
	if ctx.Err() != nil && !t.updateInFlight {
		t.note("interrupted: saving a checkpoint of step %d", t.state.Step)
		failed := t.saveNow()
		var diverged *checkpoint.DivergedError
		if errors.As(failed, &diverged) {
			t.warn("no checkpoint is saved: %v", failed)
			return ctx.Err()
		}
		if failed != nil {
			return t.stopped(fmt.Errorf("interrupted: %w", failed))
		}
		return ctx.Err()
	}
	var last *finalSaveError
	if t.updateInFlight || t.diverged || errors.Is(err, engine.ErrDeviceLost) || errors.As(err, &last) {
		t.reportSaved(t.saver.wait())
	} else if failed := t.saveNow(); failed != nil {
		err = errors.Join(err, failed)
	}
	return t.stopped(err)
}

func (t *trainer) stopped(err error) error {
	stopped := &StoppedError{Err: err, Step: t.state.Step}
	all, err := checkpoint.List(t.saver.dir)
	if stopped.ListErr = err; len(all) > 0 {
		stopped.Checkpoint = all[len(all)-1]
	}
	return stopped
}

// finish writes the trained model to the run's folder.
func (t *trainer) finish() error {
	if err := t.stats.Check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	if !t.writes() {
		return nil
	}
	defer t.World.Pause()()
	t.note("data: %s", t.stats)
	t.plot()
	if err := t.writeModel(); err != nil {
		return t.stopped(&SaveError{"the trained model", t.model.Params.Weights.Bytes, err})
	}
	return nil
}

// modelTemp is the folder in which the trained model is written before its files are moved.
const modelTemp = ".model"

// writeModel moves the weights into place last, since they mark the run as finished.
func (t *trainer) writeModel() error {
	if t.base != nil {
		return t.writeAdapter()
	}
	temp := filepath.Join(t.Out, modelTemp)
	if err := pretrained.Save(t.model, t.processor, temp, checkpoint.FiniteOnly(pretrained.ValuesOn(t.model, t.Device))); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return pretrained.MoveFiles(temp, t.Out)
}

// removeLeftovers removes the temporary files of a killed run.
func (t *trainer) removeLeftovers() error {
	err := errors.Join(os.RemoveAll(filepath.Join(t.Out, modelTemp)), checkpoint.RemoveLeftovers(t.saver.dir))
	for _, name := range []string{"run.json", "metrics.jsonl", "loss.png"} {
		err = errors.Join(err, durable.Remove(filepath.Join(t.Out, name+durable.TempSuffix)))
	}
	return err
}
