package train

import (
	"context"
	"fmt"

	"patchwork/vlm/checkpoint"
)

// report tells of a step, and writes its line of metrics.jsonl.
func (t *trainer) report(m StepMetrics) {
	if t.Observe.Step != nil {
		t.Observe.Step(m)
	}
	t.logged(t.metrics.step(m))
}

// logged says when metrics.jsonl cannot be written, and when it can again.
func (t *trainer) logged(err error) {
	switch {
	case err != nil && !t.unlogged:
		t.warn("%v; until it can be written the run keeps its metrics in memory", err)
	case err == nil && t.unlogged:
		t.note("metrics.jsonl is whole again")
	}
	t.unlogged = err != nil
}

// periodic validates and saves where the step's number asks for it.
func (t *trainer) periodic(ctx context.Context) error {
	if t.validates() {
		if err := t.validate(ctx); err != nil {
			return err
		}
	}
	if t.state.Step == t.steps {
		if err := t.saveNow(); err != nil {
			return &lastError{err}
		}
		return nil
	}
	if every := t.Recipe.SaveEvery; every > 0 && t.state.Step%every == 0 {
		return t.save()
	}
	return nil
}

// checkFinite refuses to save a run whose last step was left out: the checkpoints before
// it are the ones to go on from.
func (t *trainer) checkFinite() error {
	if t.diverged {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the gradients of step %d are not finite", t.state.Step)}
	}
	if n := len(t.metrics.train); n > 0 && !finite(float64(t.metrics.train[n-1].Loss)) && t.metrics.train[n-1].Step == t.state.Step {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the loss of step %d is not a number", t.state.Step)}
	}
	return nil
}

// validates says whether the step is one after which the run validates.
func (t *trainer) validates() bool {
	every := t.Recipe.ValEvery
	return every > 0 && (t.state.Step%every == 0 || t.state.Step == t.steps) && len(t.val.rows) > 0
}

// catchUp validates after the step that a run goes on from, where it was interrupted
// before it could.
func (t *trainer) catchUp(ctx context.Context) error {
	if t.saved.Dir == "" || t.state.Format == 0 || t.state.ValStep == t.state.Step || !t.validates() {
		return nil
	}
	return t.validate(ctx)
}
