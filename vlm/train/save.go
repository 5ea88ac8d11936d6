package train

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/loader"
	"patchwork/vlm/pretrained"
)

// checkpoint returns the state after the last step, with values read from the device.
func (t *trainer) checkpoint() checkpoint.Checkpoint {
	info, s := t.Device.Info(), t.state
	s.Format, s.Device, s.Driver, s.LossScale = checkpoint.Format, info.Device, info.Arithmetic(), t.trainStep.LossScale
	values := pretrained.ValuesOn(t.model, t.Device)
	if p := t.model.Params; p.MomentsSharded() {
		onDevice := values
		values = func(from *engine.Buffer, param *nn.Param) ([]float32, error) {
			if from == p.Weights {
				return onDevice(from, param)
			}
			return t.saver.snapshot.Values(from, param), nil
		}
	}
	return checkpoint.Checkpoint{Model: t.model, Processor: t.processor, Step: s.Step, State: s, Values: values}
}

// collect prepares a save on all ranks: rank 0, for which it returns true, gets what the others
// have of the state.
func (t *trainer) collect() (write bool, err error) {
	if t.model.Params.MomentsSharded() {
		err = t.gatherMoments(context.Background())
	}
	return t.writes(), err
}

// save writes a checkpoint, asynchronously if the host has memory for a copy of the state. If
// writing fails the run continues, and the next save is another attempt.
func (t *trainer) save() error {
	t.reportSaved(t.saver.wait())
	if err := t.checkFinite(); err != nil {
		t.reportSaved(saveResult{step: t.state.Step, err: err})
		return nil
	}
	if write, err := t.collect(); err != nil || !write {
		return err
	}
	defer t.World.Pause()()
	c := t.checkpoint()
	if t.chooseSaveMode() == saveSync {
		return t.saveSync(c)
	}
	s, p := t.saver, t.model.Params
	buffers := savedBuffers(p)
	if p.MomentsSharded() {
		buffers = buffers[:1]
	}
	err := p.CopyTo(t.Device, &s.snapshot, buffers...)
	if errors.Is(err, engine.ErrOutOfMemory) {
		if !p.MomentsSharded() {
			s.snapshot.Free()
		}
		s.mode = saveSync
		t.note("checkpoints are saved synchronously: %v", err)
		return t.saveSync(c)
	}
	if err != nil {
		return err
	}
	c.Values = func(from *engine.Buffer, p *nn.Param) ([]float32, error) { return s.snapshot.Values(from, p), nil }
	s.writing = make(chan saveResult, 1)
	go func(done chan<- saveResult) { done <- s.write(c) }(s.writing)
	return nil
}

// savedBuffers are the buffers that a checkpoint is written from.
func savedBuffers(p *nn.Params) []*engine.Buffer {
	return append([]*engine.Buffer{p.Weights}, p.Moments()...)
}

// saveSync writes a checkpoint from the device.
func (t *trainer) saveSync(c checkpoint.Checkpoint) error {
	done := t.saver.write(c)
	if errors.Is(done.err, engine.ErrDeviceLost) {
		return done.err
	}
	t.reportSaved(done)
	return nil
}

// chooseSaveMode decides once whether checkpoints are saved asynchronously, and notes it if they
// are not.
func (t *trainer) chooseSaveMode() saveMode {
	if t.saver.mode != saveAuto {
		return t.saver.mode
	}
	t.saver.mode = saveAsync
	var takes int64
	for _, b := range savedBuffers(t.model.Params) {
		takes += b.Bytes
	}
	free := freeHostMemory()
	switch {
	case free == 0:
		t.saver.mode = saveSync
		t.note("checkpoints are saved synchronously: free host memory is unknown")
	case free < 2*takes:
		t.saver.mode = saveSync
		t.note("checkpoints are saved synchronously: an asynchronous save takes a copy of %s in host memory, and %s is free", engine.Bytes(takes), engine.Bytes(free))
	}
	return t.saver.mode
}

// freeHostMemory is a variable for tests.
var freeHostMemory = engine.FreeHostMemory

// reportSaved reports the outcome of a save, and warns if it failed.
func (t *trainer) reportSaved(done saveResult) {
	t.announceSaved(done)
	if done.err != nil {
		next := "the end"
		if every := t.Recipe.SaveEvery; every > 0 {
			next = fmt.Sprintf("step %d", min(t.steps, (t.state.Step/every+1)*every))
		}
		t.warn("%v; training continues, next attempt at %s", t.saveError(done.err), next)
	}
	if done.warning != nil {
		t.warn("%v", done.warning)
	}
}

func (t *trainer) announceSaved(done saveResult) {
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

// saveNow writes a checkpoint synchronously.
func (t *trainer) saveNow() error {
	t.reportSaved(t.saver.wait())
	if t.state.Step == 0 {
		return nil
	}
	if err := t.checkFinite(); err != nil {
		t.announceSaved(saveResult{step: t.state.Step, err: err})
		return err
	}
	if write, err := t.collect(); err != nil || !write {
		return err
	}
	defer t.World.Pause()()
	done := t.saver.write(t.checkpoint())
	if done.err != nil {
		t.announceSaved(done)
		return t.saveError(done.err)
	}
	t.reportSaved(done)
	return nil
}

// DefaultKeep is the number of newest checkpoints that a run keeps by default.
const DefaultKeep = 2

// saver writes checkpoints, asynchronously from a snapshot of the weights and moments, or
// synchronously from the device.
type saver struct {
	dir      string
	keep     int
	metrics  *metricsLog
	snapshot nn.Snapshot
	mode     saveMode
	writing  chan saveResult // receives the result of the save in progress; nil if there is none
}

// saveMode selects how checkpoints are written.
type saveMode int

const (
	saveAuto  saveMode = iota // not decided yet
	saveAsync                 // from a copy in host memory while training continues
	saveSync                  // from the device, while training waits
)

// saveResult is the outcome of a save.
type saveResult struct {
	step    int   // 0 if there was no save
	err     error // the checkpoint was not saved
	warning error // it was saved, but something else failed
}

// SaveError reports a file of a run that could not be written.
type SaveError struct {
	What  string
	Bytes int64 // size of the file
	Err   error
}

func (e *SaveError) Error() string {
	s := fmt.Sprintf("%s could not be saved: %v; it takes %s", e.What, e.Err, engine.Bytes(e.Bytes))
	if diskFull(e.Err) {
		s += ": free some space there"
	}
	return s
}

func (e *SaveError) Unwrap() error { return e.Err }

// diskFull reports whether err means that a disk, a quota or a file size limit is exhausted.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// wait waits for the save in progress, if any, and returns its result.
func (s *saver) wait() saveResult {
	if s.writing == nil {
		return saveResult{}
	}
	done := <-s.writing
	s.writing = nil
	return done
}

// poll returns the result of an asynchronous save that has ended; it does not wait.
func (s *saver) poll() saveResult {
	if len(s.writing) == 0 {
		return saveResult{}
	}
	return s.wait()
}

// write syncs the metrics, saves a checkpoint, and removes checkpoints that are no longer kept.
func (s *saver) write(c checkpoint.Checkpoint) saveResult {
	done := saveResult{step: c.Step}
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

// trainerState is checkpoints/step-N/trainer.json: the state of a run other than tensors.
type trainerState struct {
	checkpoint.Header
	Cursor  loader.Cursor `json:"cursor"` // after the last batch consumed
	Tokens  int64         `json:"tokens"`
	Seconds float64       `json:"seconds"`
	Skipped int           `json:"skipped_steps"` // with non-finite gradients
	// SkippedByGroup counts the skipped steps of each learning-rate group, which Adam's bias
	// correction leaves out.
	SkippedByGroup map[string]int `json:"left_out,omitempty"`
	LossScale
	Device string `json:"device"`
	Driver string `json:"driver"`
}
