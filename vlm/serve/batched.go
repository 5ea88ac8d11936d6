package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
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

// answerTokens are the tokens of a usual request and its answer. The key/value cache has room for as many
// of them as are generated at once, or for one of the whole context.
const answerTokens = 1024

// Batched is a Scheduler that generates Options.Parallel answers at once. What requests begin with, as a
// system's text or an image, stays in the key/value cache.
type Batched struct {
	options generate.BatchOptions
	queued  int // the most requests that wait
	reopen  func() (*vlm.Runner, error)
	end     context.CancelFunc
	closed  context.Context
	ended   chan struct{}

	// Only run uses these.
	model   *vlm.Runner     // nil: the device was lost
	batch   *generate.Batch // nil: to be made
	running []*work
	held    *work   // of running: its next choice waits for room
	begun   []*work // of running: others of their choices wait for their turn, the next first
	further bool    // the last turn was of begun

	mu      sync.Mutex
	waiting *sync.Cond // for jobs
	queue   queue[*job]
	stats   Stats
	mean    time.Duration // of the time of an answer
}

// work is a job that is being answered.
type work struct {
	*job
	since   time.Time
	choices []*choice
	usage   Usage
}

// choice is one of the answers of a job.
type choice struct {
	*generate.Sequence
	writer     *writer
	constraint generate.Constraint
	fault      error // of the program, in the writer or the constraint
	finished   bool
}

// NewBatched returns a scheduler for a model, and starts it. The model is closed by the caller, after
// the scheduler.
func NewBatched(model *vlm.Runner, o Options) (*Batched, error) {
	s := &Batched{
		options: generate.BatchOptions{Sequences: o.Parallel, Context: model.Config.Text.MaxPositionEmbeddings},
		queued:  o.Queue, reopen: o.Reopen, ended: make(chan struct{}), model: model,
	}
	if o.Context > 0 {
		s.options.Context = min(s.options.Context, o.Context)
	}
	s.options.CacheTokens = max(s.options.Context, min(o.Parallel*answerTokens, o.Parallel*s.options.Context))
	if err := s.restart(); err != nil && !errors.Is(err, engine.ErrDeviceLost) {
		return nil, err
	}
	s.stats.Restarts = 0
	s.waiting = sync.NewCond(&s.mu)
	s.closed, s.end = context.WithCancel(context.Background())
	s.stats.MemoryBytes, _ = model.Device.MemoryInUse()
	go s.run()
	return s, nil
}

// Context implements Scheduler.
func (s *Batched) Context() int { return s.options.Context }

// Stats implements Scheduler.
func (s *Batched) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Queued = s.queue.n
	return out
}

// Submit implements Scheduler.
func (s *Batched) Submit(ctx context.Context, r Request) (*Answer, error) {
	n := len(r.Prompt.IDs) + len(r.Observe)
	if n > s.options.Context || len(r.Prompt.IDs) == s.options.Context {
		return nil, &generate.ContextError{Prompt: n, New: max(1, r.MaxNewTokens), Context: s.options.Context}
	}
	room := s.options.Context - n
	if r.Choices = max(1, r.Choices); r.MaxNewTokens < 1 || r.MaxNewTokens > room {
		r.MaxNewTokens = room
	}
	j := &job{Request: r, answer: NewAnswer(), since: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Err() != nil {
		return nil, ErrClosed
	}
	if s.queue.n+s.stats.Running >= s.options.Sequences+s.queued {
		busy := &BusyError{s.retryAfter()}
		displaced, ok := s.queue.displace(r.Client)
		if !ok {
			return nil, busy
		}
		displaced.cancel()
		displaced.answer.End(Usage{}, busy)
	}
	j.ctx, j.cancel = context.WithCancel(ctx)
	s.queue.push(j.Client, j)
	context.AfterFunc(j.ctx, func() { s.leave(j) })
	s.waiting.Signal()
	return j.answer, nil
}

// retryAfter estimates when the queue is shorter.
func (s *Batched) retryAfter() time.Duration {
	wait := (s.mean * time.Duration(s.queue.n) / time.Duration(2*s.options.Sequences)).Round(time.Second)
	return min(max(wait, time.Second), time.Minute)
}

// leave ends the answer of a job whose client has gone, if it still waits.
func (s *Batched) leave(j *job) {
	s.mu.Lock()
	waited := s.queue.remove(j.Client, j)
	s.mu.Unlock()
	if waited {
		j.answer.End(Usage{}, j.ctx.Err())
	}
}

// Close implements Scheduler.
func (s *Batched) Close() {
	s.end()
	s.mu.Lock()
	s.waiting.Signal()
	s.mu.Unlock()
	<-s.ended
}

// run answers requests until the scheduler is closed. It alone uses the device.
func (s *Batched) run() {
	defer close(s.ended)
	for s.wait() {
		if err := s.restart(); err != nil {
			slog.Error("the model is lost until it can be loaded again", "reason", err)
			s.refuse(err)
			continue
		}
		s.admit()
		if err := s.step(); err != nil {
			s.fail(err)
			if err := s.restart(); err != nil {
				slog.Error("the model is lost until it can be loaded again", "reason", err)
			}
		}
		s.settle()
	}
	s.fail(ErrClosed)
	s.refuse(ErrClosed)
}

// wait waits for work and reports whether the scheduler is still open.
func (s *Batched) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.running) == 0 && s.queue.n == 0 && s.closed.Err() == nil {
		s.waiting.Wait()
	}
	return s.closed.Err() == nil
}

// next takes a job from the queue; nil: none.
func (s *Batched) next() *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.queue.pop()
	if !ok {
		return nil
	}
	s.stats.Running++
	return &work{job: j, since: time.Now(), usage: Usage{PromptTokens: len(j.Prompt.IDs) + len(j.Observe), Queued: time.Since(j.since)}}
}

// refuse ends the answers of all jobs that wait.
func (s *Batched) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for j, ok := s.queue.pop(); ok; j, ok = s.queue.pop() {
		j.cancel()
		j.answer.End(Usage{}, err)
	}
}

// admit starts answers as long as there is room.
func (s *Batched) admit() {
	for s.batch.Len() < s.options.Sequences {
		w := s.held
		if w == nil {
			if w = s.turn(); w == nil {
				return
			}
		}
		s.held = nil
		switch err := s.start(w); {
		case errors.Is(err, generate.ErrNoRoom):
			s.held = w
			return
		case err != nil:
			s.finish(w, err)
		case len(w.choices) < w.Choices:
			s.begun = append(s.begun, w)
		}
	}
}

// turn returns the job whose next choice is to be started; nil: none. Further choices of a job take turns
// with jobs that wait.
func (s *Batched) turn() *work {
	if s.further || len(s.begun) == 0 {
		if w := s.next(); w != nil {
			s.running, s.further = append(s.running, w), false
			return w
		}
	}
	if len(s.begun) == 0 {
		return nil
	}
	w := s.begun[0]
	s.begun, s.further = s.begun[1:], true
	return w
}

// start starts the next answer of a job.
func (s *Batched) start(w *work) (err error) {
	defer recovered("a request failed", &err)
	n := len(w.choices)
	if w.Observe != nil {
		return s.observe(w)
	}
	c := &choice{writer: newWriter(&w.Request, n, w.answer, s.model.Processor)}
	o := generate.Options{
		MaxNewTokens: w.MaxNewTokens, Sampling: w.Sampling, Clips: w.Clips, Bias: w.Bias,
		LogProbs: w.LogProbs, TopLogProbs: w.TopLogProbs, Token: c.token,
	}
	o.Sampling.Seed += uint64(n)
	if w.Constraint != nil {
		if c.constraint = w.Constraint(); c.constraint != nil {
			o.Constraint = guarded{c}
		}
	}
	if c.Sequence, err = s.batch.Start(w.Prompt, w.Images, o); err == nil {
		w.choices = append(w.choices, c)
	}
	return err
}

// observe starts the observation of the answer of a job.
func (s *Batched) observe(w *work) error {
	sequence, err := s.batch.Observe(w.Prompt, w.Images, w.Observe, generate.Options{Clips: w.Clips})
	if err == nil {
		w.choices = append(w.choices, &choice{Sequence: sequence, writer: newWriter(&w.Request, 0, w.answer, s.model.Processor)})
	}
	return err
}

// token hands a token to the writer.
func (c *choice) token(t generate.Token) (more bool) {
	defer recovered("a request failed", &c.fault)
	return c.writer.token(t)
}

// recovered makes a fault in the program an error, so that it ends no more than it has to. It is deferred.
func recovered(what string, err *error) {
	if fault := recover(); fault != nil {
		slog.Error(what, "fault", fault, "stack", string(debug.Stack()))
		*err = fmt.Errorf("internal error: %v", fault)
	}
}

// guarded is the constraint of a choice. After a fault no token may come next.
type guarded struct{ *choice }

// Mask implements generate.Constraint.
func (g guarded) Mask(logits []float32) (some bool) {
	defer recovered("a request failed", &g.fault)
	return g.constraint.Mask(logits)
}

// Accept implements generate.Constraint.
func (g guarded) Accept(id int32) {
	defer recovered("a request failed", &g.fault)
	g.constraint.Accept(id)
}

// step runs the batch once.
func (s *Batched) step() (err error) {
	defer recovered("all requests failed", &err)
	if s.batch.Len() == 0 {
		return nil
	}
	return s.batch.Step(s.closed)
}

// fail ends all answers, and releases the batch, of which an error leaves nothing that can be used.
func (s *Batched) fail(err error) {
	if s.closed.Err() != nil {
		err = ErrClosed
	}
	for _, w := range slices.Clone(s.running) {
		s.finish(w, err)
	}
	if s.batch != nil {
		s.batch.Close()
		s.batch = nil
	}
	s.lose(err)
}

// lose forgets the model if an error is that its device was lost.
func (s *Batched) lose(err error) {
	if !errors.Is(err, engine.ErrDeviceLost) {
		return
	}
	s.model = nil
	s.mu.Lock()
	s.stats.Lost = true
	s.mu.Unlock()
}

// settle ends the answers that are complete, that failed or whose clients have left.
func (s *Batched) settle() {
	for _, w := range slices.Clone(s.running) {
		complete := len(w.choices) == w.Choices
		err := w.ctx.Err()
		for _, c := range w.choices {
			if c.Done && !c.finished && err == nil {
				err = c.finish(&w.usage)
			}
			complete = complete && c.finished
		}
		if complete || err != nil {
			s.finish(w, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batch != nil {
		s.stats.CacheCapacity = s.options.CacheTokens
		s.stats.CacheTokens = int(s.batch.CacheUse() * float64(s.options.CacheTokens))
		s.stats.MemoryBytes, _ = s.model.Device.MemoryInUse()
	}
}

// finish completes a choice that is done.
func (c *choice) finish(u *Usage) (err error) {
	defer recovered("a request failed", &err)
	c.finished = true
	u.CompletionTokens += len(c.Result.IDs)
	u.ReasoningTokens += c.writer.reasoning
	u.Prefill, u.Decode = u.Prefill+c.Result.Prefill, u.Decode+c.Result.Decode
	if c.writer.choice == 0 {
		u.CachedTokens = c.Result.CachedTokens
	}
	if c.fault != nil {
		return c.fault
	}
	finish := c.Result.Finish
	if ended, ok := c.constraint.(interface{ Ended() bool }); ok && errors.Is(c.Err, generate.ErrNoToken) && ended.Ended() {
		finish = "stop" // a model without an end token has said all
	} else if c.Err != nil {
		return c.Err
	}
	if attention := c.Attention(); attention != nil {
		c.writer.answer.Add(Event{Attention: attention, Finish: "stop"})
		return nil
	}
	c.writer.finish(finish)
	return nil
}

// finish ends the answer to a job; nil: it is complete.
func (s *Batched) finish(w *work, err error) {
	for _, c := range w.choices {
		if s.batch != nil && !c.Done {
			s.batch.Cancel(c.Sequence, context.Canceled)
		}
	}
	w.cancel()
	if w.Observe == nil {
		w.usage.FirstToken = w.answer.sinceFirst(w.job.since)
	}
	if w.Ended != nil {
		w.Ended(w.usage)
	}
	w.answer.End(w.usage, err)
	s.running = slices.DeleteFunc(s.running, func(o *work) bool { return o == w })
	s.begun = slices.DeleteFunc(s.begun, func(o *work) bool { return o == w })
	if s.held == w {
		s.held = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Running--
	s.mean += (time.Since(w.since) - s.mean) / 4
}

// restart loads the model again if its device was lost, and makes a batch if there is none.
func (s *Batched) restart() (err error) {
	if s.model == nil {
		if s.reopen == nil {
			return ErrUnavailable
		}
		slog.Warn("loading the model again")
		if s.model, err = s.reopen(); err != nil {
			s.model = nil
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		s.mu.Lock()
		s.stats.Restarts++
		s.stats.Lost = false
		s.mu.Unlock()
	}
	if s.batch == nil {
		s.batch, err = generate.NewBatch(s.model, s.options)
		s.lose(err)
	}
	return err
}
