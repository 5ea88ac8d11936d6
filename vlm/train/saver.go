package train

import (
	"errors"
	"fmt"
	"syscall"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/checkpoint"
)

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
