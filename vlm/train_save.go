package vlm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"patchwork/engine"
	"patchwork/nn"
)

// DefaultKeep is how many of the newest checkpoints a run keeps.
const DefaultKeep = 2

// saver writes checkpoints beside the steps that follow, from a copy of the weights
// and moments.
type saver struct {
	dir     string
	keep    int
	metrics *metricsLog
	copied  nn.Copy
	where   place
	writing chan saved // the outcome of the one under way; nil: there is none
}

// place is where a checkpoint is written from.
type place int

const (
	undecided place = iota
	beside          // from a copy in the host's memory, while steps go on
	inStep          // from the device, which stands still
)

// saved is the outcome of a writing.
type saved struct {
	step   int   // 0: there was none
	err    error // it was not saved
	beside error // it was, and something else failed
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
func (s *saver) write(c checkpoint) saved {
	done := saved{step: c.state.Step}
	if err := s.metrics.sync(); err != nil {
		done.beside = err
	}
	if done.err = c.save(s.dir); done.err != nil {
		return done
	}
	if err := prune(s.dir, s.keep); err != nil {
		done.beside = errors.Join(done.beside, fmt.Errorf("an old checkpoint could not be removed: %w", err))
	}
	return done
}

// checkpoint is the state after the last step, with values on the device.
func (t *trainer) checkpoint() checkpoint {
	info, s := t.Device.Info(), t.state
	s.Format, s.Device, s.Driver, s.LossScale = checkpointFormat, info.Device, info.Arithmetic(), t.stepper.LossScale
	return checkpoint{t.model, t.language, s, t.model.valuesOn(t.Device)}
}

// save writes a checkpoint beside the steps that follow, where the host has memory
// for a copy. When that fails the run goes on, and the next one is another try.
func (t *trainer) save() error {
	t.tell(t.saver.wait())
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
	c.values = func(from *engine.Buffer, p *nn.Param) ([]float32, error) { return s.copied.Values(from, p), nil }
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
	takes, free := t.model.checkpointBytes(), freeHostMemory()
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
	return &SaveError{"a checkpoint", t.model.checkpointBytes(), err}
}

// saveNow writes a checkpoint and returns when it is there.
func (t *trainer) saveNow() error {
	t.tell(t.saver.wait())
	if t.state.Step == 0 {
		return nil
	}
	done := t.saver.write(t.checkpoint())
	if done.err != nil {
		t.announceSaved(done)
		return t.saveError(done.err)
	}
	t.tell(done)
	return nil
}

// finish writes the trained model into the run's folder.
func (t *trainer) finish() error {
	if err := t.tally.check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	if t.Observe.Note != nil {
		t.note("data: %s", t.tally)
	}
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
	if err := t.model.save(t.Device, t.language, temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	if err := syncFiles(temp); err != nil {
		return err
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	move := func(name string) error { return os.Rename(filepath.Join(temp, name), filepath.Join(t.Out, name)) }
	for _, e := range entries {
		if e.Name() == weightsFile {
			continue
		}
		if err := move(e.Name()); err != nil {
			return err
		}
	}
	if err := syncDir(t.Out); err != nil {
		return err
	}
	return errors.Join(move(weightsFile), os.Remove(temp), syncDir(t.Out))
}

// clean removes what a run that was killed has left in its folder.
func (t *trainer) clean() error {
	err := errors.Join(os.RemoveAll(filepath.Join(t.Out, modelTemp)), sweep(t.saver.dir))
	for _, name := range []string{"run.json", "metrics.jsonl", "loss.png"} {
		err = errors.Join(err, remove(filepath.Join(t.Out, name+tempSuffix)))
	}
	return err
}
