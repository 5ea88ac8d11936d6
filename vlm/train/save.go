package train

import (
	"errors"
	"fmt"
	"syscall"

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

// DefaultKeep is how many of the newest checkpoints a run keeps.
const DefaultKeep = 2

// saver writes checkpoints beside the steps that follow, from a copy of the weights
// and moments.
type saver struct {
	dir     string
	keep    int
	metrics *metricsLog
	copied  nn.Snapshot
	mode    saveMode
	writing chan saved // the outcome of the one under way; nil: there is none
}

// saveMode is where a checkpoint is written from.
type saveMode int

const (
	saveAuto  saveMode = iota
	saveAsync          // from a copy in the host's memory, while steps go on
	saveSync           // from the device, which stands still
)

// saved is the outcome of a writing.
type saved struct {
	step    int   // 0: there was none
	err     error // it was not saved
	warning error // it was, and something else failed
}

// SaveError is something of a run that could not be written.
type SaveError struct {
	What  string
	Bytes int64 // that it takes
	Err   error
}

func (e *SaveError) Error() string {
	s := fmt.Sprintf("%s could not be saved: %v; it takes %s", e.What, e.Err, engine.Bytes(e.Bytes))
	if full(e.Err) {
		s += ": make room there"
	}
	return s
}

func (e *SaveError) Unwrap() error { return e.Err }

// full says whether a disk, a quota or a limit has no room for more.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// wait returns the outcome of the writing under way, if there is one.
func (s *saver) wait() saved {
	if s.writing == nil {
		return saved{}
	}
	done := <-s.writing
	s.writing = nil
	return done
}

// poll is wait for a writing that has ended.
func (s *saver) poll() saved {
	if len(s.writing) == 0 {
		return saved{}
	}
	return s.wait()
}

func (s *saver) close() {
	s.wait()
	s.copied.Free()
}

// write saves a checkpoint, behind the metrics of its steps, and then removes what is
// no longer kept.
func (s *saver) write(c checkpoint.Checkpoint) saved {
	done := saved{step: c.Step}
	if err := s.metrics.sync(); err != nil {
		done.warning = err
	}
	if done.err = c.Save(s.dir); done.err != nil {
		return done
	}
	if err := checkpoint.Prune(s.dir, s.keep); err != nil {
		done.warning = errors.Join(done.warning, fmt.Errorf("an old checkpoint could not be removed: %w", err))
	}
	return done
}

// trainerState is checkpoints/step-N/trainer.json: all of a run's state that is
// no tensor.
type trainerState struct {
	checkpoint.Header
	Cursor  Cursor  `json:"cursor"` // behind the last batch consumed
	Tokens  int64   `json:"tokens"`
	Seconds float64 `json:"seconds"`
	Skipped int     `json:"skipped_steps"` // gradients were not finite
	// LeftOut is how many of a learning-rate group's steps the optimiser left out, which
	// its bias corrections do not count.
	LeftOut map[string]int `json:"left_out,omitempty"`
	LossScale
	Device string `json:"device"`
	Driver string `json:"driver"`
}
