package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/generate"
)

// Options are the settings of a scheduler.
type Options struct {
	Context  int // tokens of a prompt and its answer; 0 or more than the model's: the model's
	Parallel int // answers at a time
	Queue    int // requests that wait
	// Reopen returns the model on a device that was opened again, after the device was lost; nil: the
	// model stays lost.
	Reopen func() (*vlm.Runner, error)
}

// Serial is a Scheduler that answers one request at a time; Options.Parallel requests more may wait.
// What requests have in common with the one before stays in the key/value cache.
type Serial struct {
	options Options
	context int
	end     context.CancelFunc
	closed  context.Context
	ended   chan struct{}

	generator *generate.Generator // nil: the device was lost. Only run uses it.

	mu      sync.Mutex
	waiting *sync.Cond // for jobs
	queue   queue
	stats   Stats
	mean    time.Duration // of the time of an answer
}

// NewSerial returns a scheduler for a model, and starts it. The model is closed by the caller, after
// the scheduler.
func NewSerial(model *vlm.Runner, o Options) *Serial {
	s := &Serial{options: o, context: model.Config.Text.MaxPositionEmbeddings, ended: make(chan struct{}), generator: generate.New(model)}
	if o.Context > 0 {
		s.context = min(s.context, o.Context)
	}
	s.waiting = sync.NewCond(&s.mu)
	s.closed, s.end = context.WithCancel(context.Background())
	s.stats.MemoryBytes, _ = model.Device.MemoryInUse()
	go s.run()
	return s
}

// Context implements Scheduler.
func (s *Serial) Context() int { return s.context }

// Stats implements Scheduler.
func (s *Serial) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Queued = s.queue.n
	return out
}

// Submit implements Scheduler.
func (s *Serial) Submit(ctx context.Context, r Request) (*Answer, error) {
	if n := len(r.Prompt.IDs); n >= s.context {
		return nil, &generate.ContextError{Prompt: n, New: max(1, r.MaxNewTokens), Context: s.context}
	}
	room := s.context - len(r.Prompt.IDs)
	if r.Choices = max(1, r.Choices); r.MaxNewTokens < 1 || r.MaxNewTokens > room {
		r.MaxNewTokens = room
	}
	j := &job{Request: r, answer: NewAnswer(), since: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Err() != nil {
		return nil, ErrClosed
	}
	if s.queue.n+s.stats.Running >= s.options.Parallel+s.options.Queue {
		busy := &BusyError{s.retryAfter()}
		displaced := s.queue.displace(r.Client)
		if displaced == nil {
			return nil, busy
		}
		displaced.cancel()
		displaced.answer.End(Usage{}, busy)
	}
	j.ctx, j.cancel = context.WithCancel(ctx)
	s.queue.push(j)
	context.AfterFunc(j.ctx, func() { s.leave(j) })
	s.waiting.Signal()
	return j.answer, nil
}

// retryAfter estimates when the queue is shorter.
func (s *Serial) retryAfter() time.Duration {
	wait := (s.mean * time.Duration(s.queue.n) / 2).Round(time.Second)
	return min(max(wait, time.Second), time.Minute)
}

// leave ends the answer of a job whose client has gone, if it still waits.
func (s *Serial) leave(j *job) {
	s.mu.Lock()
	waited := s.queue.remove(j)
	s.mu.Unlock()
	if waited {
		j.answer.End(Usage{}, context.Canceled)
	}
}

// Close implements Scheduler.
func (s *Serial) Close() {
	s.end()
	s.mu.Lock()
	s.waiting.Signal()
	s.mu.Unlock()
	<-s.ended
}

// run answers requests until the scheduler is closed. It alone uses the device.
func (s *Serial) run() {
	defer close(s.ended)
	for {
		j := s.next()
		if j == nil {
			break
		}
		start := time.Now()
		u, err := s.serve(j)
		if u.FirstToken = j.answer.sinceFirst(j.since); j.Ended != nil {
			j.Ended(u)
		}
		j.cancel()
		if s.closed.Err() != nil && errors.Is(err, context.Canceled) {
			err = ErrClosed
		}
		j.answer.End(u, err)
		if s.generator == nil {
			if err := s.restart(); err != nil {
				slog.Error("the model is lost until it can be loaded again", "reason", err)
			}
		}
		s.done(time.Since(start))
	}
	s.discard()
}

// next waits for a job; nil: the scheduler is closed.
func (s *Serial) next() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.n == 0 && s.closed.Err() == nil {
		s.waiting.Wait()
	}
	j := s.queue.pop()
	if s.closed.Err() == nil {
		s.stats.Running = 1
		return j
	}
	for ; j != nil; j = s.queue.pop() {
		j.cancel()
		j.answer.End(Usage{}, ErrClosed)
	}
	return nil
}

// done updates the statistics after an answer.
func (s *Serial) done(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Running = 0
	s.stats.Lost = s.generator == nil
	if s.mean += (took - s.mean) / 4; !s.stats.Lost {
		s.stats.CacheTokens, s.stats.CacheCapacity = s.generator.CacheUse()
		s.stats.MemoryBytes, _ = s.generator.Device.MemoryInUse()
	}
}

// serve answers a request. After a lost device, or a fault of this program, the model is loaded again.
func (s *Serial) serve(j *job) (u Usage, err error) {
	u = Usage{PromptTokens: len(j.Prompt.IDs), Queued: time.Since(j.since)}
	defer func() {
		if fault := recover(); fault != nil {
			slog.Error("a request failed", "fault", fault, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", fault)
			s.discard()
		}
		if errors.Is(err, engine.ErrDeviceLost) {
			s.discard()
		}
	}()
	if err := s.restart(); err != nil {
		return u, err
	}
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	for choice := range j.Choices {
		if err := s.choice(ctx, j, choice, &u); err != nil {
			return u, err
		}
	}
	return u, nil
}

// choice generates one answer.
func (s *Serial) choice(ctx context.Context, j *job, choice int, u *Usage) error {
	w := newWriter(&j.Request, choice, j.answer, s.generator.Processor)
	o := generate.Options{
		MaxNewTokens: j.MaxNewTokens, Sampling: j.Sampling, Clips: j.Clips, Bias: j.Bias,
		LogProbs: j.LogProbs, TopLogProbs: j.TopLogProbs, Token: w.token,
	}
	o.Sampling.Seed += uint64(choice)
	if j.Constraint != nil {
		o.Constraint = j.Constraint()
	}
	got, err := s.generator.Generate(ctx, j.Prompt, j.Images, o)
	if choice == 0 {
		u.CachedTokens = got.CachedTokens
	}
	u.CompletionTokens += len(got.IDs)
	u.ReasoningTokens += w.reasoning
	u.Prefill, u.Decode = u.Prefill+got.Prefill, u.Decode+got.Decode
	if ended, ok := o.Constraint.(interface{ Ended() bool }); ok && errors.Is(err, generate.ErrNoToken) && ended.Ended() {
		got.Finish, err = "stop", nil // a model without an end token has said all
	}
	if err == nil {
		w.finish(got.Finish)
	}
	return err
}

// discard releases the cache and the programs, and with them a model whose device was lost.
func (s *Serial) discard() {
	if s.generator != nil {
		s.generator.Close()
	}
	s.generator = nil
}

// restart loads the model again if it was discarded.
func (s *Serial) restart() error {
	if s.generator != nil {
		return nil
	}
	if s.options.Reopen == nil {
		return ErrUnavailable
	}
	slog.Warn("loading the model again")
	model, err := s.options.Reopen()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.generator = generate.New(model)
	s.mu.Lock()
	s.stats.Restarts++
	s.mu.Unlock()
	return nil
}
