package train

import (
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

// StoppedError is how a run ended that failed on its way.
type StoppedError struct {
	Err        error
	Step       int    // the last whole one
	Checkpoint string // newest, which --resume goes on from; "" where there is none
	Unlisted   error  // why it is not known whether there is one
}

func (e *StoppedError) Error() string {
	saved := "no checkpoint was saved yet"
	switch {
	case e.Checkpoint != "":
		saved = "the newest checkpoint is " + e.Checkpoint
	case e.Unlisted != nil:
		saved = fmt.Sprintf("which checkpoints there are is not known (%v); --resume goes on from the newest", e.Unlisted)
	}
	return fmt.Sprintf("stopped after step %d: %v; %s", e.Step, e.Err, saved)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// lastError is a last checkpoint that could not be written, and is not tried again.
type lastError struct{ error }

func (e *lastError) Unwrap() error { return e.error }

// stop ends a run that was interrupted or has failed. Nothing of the step under way
// counts; the state before it is saved where the device still has it.
func (t *trainer) stop(ctx context.Context, err error) error {
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
	var last *lastError
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
	if stopped.Unlisted = err; len(all) > 0 {
		stopped.Checkpoint = all[len(all)-1]
	}
	return stopped
}

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
