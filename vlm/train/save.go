package train

import (
	"errors"
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/pretrained"
)

// checkpoint is the state after the last step, with values on the device.
func (t *trainer) checkpoint() checkpoint.Checkpoint {
	info, s := t.Device.Info(), t.state
	s.Format, s.Device, s.Driver, s.LossScale = checkpoint.Format, info.Device, info.Arithmetic(), t.trainStep.LossScale
	return checkpoint.Checkpoint{Model: t.model, Processor: t.processor, Step: s.Step, State: s, Values: pretrained.ValuesOn(t.model, t.Device)}
}

// save writes a checkpoint beside the steps that follow, where the host has memory
// for a copy. When that fails the run goes on, and the next one is another try.
func (t *trainer) save() error {
	t.reportSaved(t.saver.wait())
	if err := t.checkFinite(); err != nil {
		t.reportSaved(saved{step: t.state.Step, err: err})
		return nil
	}
	c := t.checkpoint()
	if t.chooseSaveMode() == saveSync {
		done := t.saver.write(c)
		if errors.Is(done.err, engine.ErrDeviceLost) {
			return done.err
		}
		t.reportSaved(done)
		return nil
	}
	s, p := t.saver, t.model.Params
	err := p.CopyTo(t.Device, &s.copied, p.Weights, p.M, p.V)
	if errors.Is(err, engine.ErrOutOfMemory) {
		s.copied.Free()
		s.mode = saveSync
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

// chooseSaveMode decides once, and says so where it is the slower one.
func (t *trainer) chooseSaveMode() saveMode {
	if t.saver.mode != saveAuto {
		return t.saver.mode
	}
	t.saver.mode = saveAsync
	takes, free := checkpoint.Bytes(t.model), freeHostMemory()
	switch {
	case free == 0:
		t.saver.mode = saveSync
		t.note("checkpoints are saved in the step: the system does not say how much memory is free for a copy")
	case free < 2*takes:
		t.saver.mode = saveSync
		t.note("checkpoints are saved in the step: beside it they take a copy of %s, and %s of memory are free", engine.Bytes(takes), engine.Bytes(free))
	}
	return t.saver.mode
}

// freeHostMemory is a variable for tests.
var freeHostMemory = engine.FreeHostMemory

// reportSaved says what became of a checkpoint, and warns of one that was not saved.
func (t *trainer) reportSaved(done saved) {
	t.announceSaved(done)
	if done.err != nil {
		next := "the end"
		if every := t.Recipe.SaveEvery; every > 0 {
			next = fmt.Sprintf("step %d", min(t.steps, (t.state.Step/every+1)*every))
		}
		t.warn("%v; the run goes on and tries again at %s", t.saveError(done.err), next)
	}
	if done.warning != nil {
		t.warn("%v", done.warning)
	}
}

func (t *trainer) announceSaved(done saved) {
	if done.step > 0 && t.Observe.Checkpoint != nil {
		t.Observe.Checkpoint(CheckpointEvent{done.step, done.err})
	}
}

func (t *trainer) saveError(err error) error {
	var diverged *checkpoint.DivergedError
	if errors.As(err, &diverged) {
		return fmt.Errorf("no checkpoint is saved: %w", err)
	}
	return &SaveError{"a checkpoint", checkpoint.Bytes(t.model), err}
}

// saveNow writes a checkpoint and returns when it is there.
func (t *trainer) saveNow() error {
	t.reportSaved(t.saver.wait())
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
	t.reportSaved(done)
	return nil
}
