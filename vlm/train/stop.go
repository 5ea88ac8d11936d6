package train

import (
	"context"
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/vlm/checkpoint"
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
