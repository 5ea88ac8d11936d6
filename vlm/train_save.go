package vlm

import (
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
)

// checkpoint is the state after the last step, with values on the device.
func (t *trainer) checkpoint() Checkpoint {
	info, s := t.Device.Info(), t.state
	s.Format, s.Device, s.Driver, s.LossScale = CheckpointFormat, info.Device, info.Arithmetic(), t.stepper.LossScale
	return Checkpoint{Model: t.model, Language: t.language, Step: s.Step, State: s, Values: ValuesOn(t.model, t.Device)}
}

// save writes a checkpoint beside the steps that follow, where the host has memory
// for a copy. When that fails the run goes on, and the next one is another try.
func (t *trainer) save() error {
	t.tell(t.saver.wait())
	if err := t.checkFinite(); err != nil {
		t.tell(saved{step: t.state.Step, err: err})
		return nil
	}
	c := t.checkpoint()
	if t.placeOfSaving() == inStep {
		done := t.saver.write(c)
		if errors.Is(done.err, engine.ErrDeviceLost) {
			return done.err
		}
		t.tell(done)
		return nil
	}
	s, p := t.saver, t.model.Params
	err := p.CopyTo(t.Device, &s.copied, p.Weights, p.M, p.V)
	if errors.Is(err, engine.ErrOutOfMemory) {
		s.copied.Free()
		s.where = inStep
		t.note("checkpoints are saved in the step: %v", err)
		return t.save()
	}
	if err != nil {
		return err
	}
	c.Values = func(from *engine.Buffer, p *nn.Param) ([]float32, error) { return s.copied.Values(from, p), nil }
	s.writing = make(chan saved, 1)
	go func(done chan<- saved) { done <- s.write(c) }(s.writing)
	return nil
}

// placeOfSaving decides once, and says so where it is the slower one.
func (t *trainer) placeOfSaving() place {
	if t.saver.where != undecided {
		return t.saver.where
	}
	t.saver.where = beside
	takes, free := CheckpointBytes(t.model), freeHostMemory()
	switch {
	case free == 0:
		t.saver.where = inStep
		t.note("checkpoints are saved in the step: the system does not say how much memory is free for a copy")
	case free < 2*takes:
		t.saver.where = inStep
		t.note("checkpoints are saved in the step: beside it they take a copy of %s, and %s of memory are free", engine.Bytes(takes), engine.Bytes(free))
	}
	return t.saver.where
}

// freeHostMemory is a variable for tests.
var freeHostMemory = engine.FreeHostMemory

// tell says what became of a checkpoint, and warns of one that was not saved.
func (t *trainer) tell(done saved) {
	t.announceSaved(done)
	if done.err != nil {
		next := "the end"
		if every := t.Recipe.SaveEvery; every > 0 {
			next = fmt.Sprintf("step %d", min(t.steps, (t.state.Step/every+1)*every))
		}
		t.warn("%v; the run goes on and tries again at %s", t.saveError(done.err), next)
	}
	if done.beside != nil {
		t.warn("%v", done.beside)
	}
}

func (t *trainer) announceSaved(done saved) {
	if done.step > 0 && t.Observe.Checkpoint != nil {
		t.Observe.Checkpoint(CheckpointEvent{done.step, done.err})
	}
}

func (t *trainer) saveError(err error) error {
	var diverged *DivergedError
	if errors.As(err, &diverged) {
		return fmt.Errorf("no checkpoint is saved: %w", err)
	}
	return &SaveError{"a checkpoint", CheckpointBytes(t.model), err}
}

// saveNow writes a checkpoint and returns when it is there.
func (t *trainer) saveNow() error {
	t.tell(t.saver.wait())
	if t.state.Step == 0 {
		return nil
	}
	if err := t.checkFinite(); err != nil {
		t.announceSaved(saved{step: t.state.Step, err: err})
		return err
	}
	done := t.saver.write(t.checkpoint())
	if done.err != nil {
		t.announceSaved(done)
		return t.saveError(done.err)
	}
	t.tell(done)
	return nil
}
