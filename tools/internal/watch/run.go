// Package watch keeps the state of a training run for its progress line, and serves it as
// a web page and to Prometheus.
package watch

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patchwork/engine"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// Options describe a run beyond what its observer receives.
type Options struct {
	Name         string // the run's folder
	Preset       string
	Version      string // of vlmtool
	Device       engine.Info
	PeakFlops    float64 // the device's, in operations per second; 0 = unknown
	PricePerHour float64 // dollars; 0 = unknown
}

// Run is the state of a run. It is safe for concurrent use.
type Run struct {
	options Options
	now     func() time.Time

	mu          sync.Mutex
	state       State
	curves      curves
	smooth      train.RunningMean
	tokenRate   mean
	imageRate   mean
	rankRates   []mean
	firstTime   time.Time
	firstStep   int
	reasons     map[string]*Reason
	events      []Event
	validations []Validation
	images      imageStore
	durations   prometheus.Histogram
}

// State is a run's state after a step. Unknown values are nil.
type State struct {
	Phase      string    `json:"phase"` // one of those below
	Begun      time.Time `json:"begun"` // start of this process
	Step       int       `json:"step"`
	Steps      int       `json:"steps"`
	Estimated  bool      `json:"steps_estimated"` // Steps is an estimate
	Tokens     int64     `json:"tokens"`
	Parameters int64     `json:"parameters"`
	Rows       int       `json:"rows"`
	ValRows    int       `json:"val_rows"`
	Loss       *float64  `json:"loss"` // running mean
	ValLoss    *float64  `json:"val_loss"`
	LR         float64   `json:"lr"`
	GradNorm   *float64  `json:"grad_norm"`
	TokensPerS float64   `json:"tokens_per_s"` // of the last steps
	ImagesPerS float64   `json:"images_per_s"`
	// RankTokensPerS are the tokens a second of each of several ranks, without the waits for others.
	RankTokensPerS []float64 `json:"rank_tokens_per_s,omitempty"`
	Peak           *float64  `json:"peak_fraction"` // of the device's peak arithmetic, 0 to 1
	Memory         int64     `json:"memory_bytes"`  // of the device, allocated by the engine
	MemoryPeak     int64     `json:"memory_peak_bytes"`
	BadRows        int       `json:"bad_rows"`
	Skipped        int       `json:"skipped_steps"`
	SecondsLeft    *float64  `json:"seconds_left"`
	DollarsLeft    *float64  `json:"dollars_left"`
}

// The phases of a run.
const (
	Waiting     = "waiting"
	Training    = "training"
	Finished    = "finished"
	Interrupted = "interrupted"
	Failed      = "failed"
)

// Event is an entry of the run's log.
type Event struct {
	Time time.Time `json:"time"`
	Step int       `json:"step"`
	Kind string    `json:"kind"` // "note", "checkpoint", "failure"
	Text string    `json:"text"`
}

// Reason counts the data rows that are skipped for a reason.
type Reason struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	Last   string `json:"last"` // row
}

// keepEvents and keepReasons bound the memory of a long run.
const (
	keepEvents  = 200
	keepReasons = 50
)

// New is a run that has not started.
func New(o Options) *Run {
	o.Name = strings.ToValidUTF8(o.Name, "\uFFFD") // Prometheus labels are UTF-8
	return &Run{
		options: o, state: State{Phase: Waiting, Begun: time.Now()}, now: time.Now,
		reasons: map[string]*Reason{}, durations: newStepDurations(),
	}
}

// Observer updates the run; it is one of the observers of training.
func (r *Run) Observer() train.Observer {
	return train.Observer{
		Start: r.start, Step: r.step, Validation: r.validation, BadRow: r.badRow,
		Note: func(s string) { r.event("note", s) },
		Warn: func(s string) { r.event("failure", s) },
		Checkpoint: func(e train.CheckpointEvent) {
			if e.Err != nil {
				r.event("failure", fmt.Sprintf("the checkpoint of step %d was not saved: %v", e.Step, e.Err))
				return
			}
			r.event("checkpoint", fmt.Sprintf("checkpoint of step %d saved", e.Step))
		},
	}
}

// State returns the current state.
func (r *Run) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// End sets the final phase.
func (r *Run) End(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Phase = phase
	if phase == Finished {
		r.state.SecondsLeft, r.state.DollarsLeft = r.left(0)
	}
}

func (r *Run) start(info train.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	s.Phase, s.Step, s.Steps, s.Estimated, s.Parameters, s.Rows, s.ValRows = Training, info.Done, info.Steps, info.StepsEstimated, info.Parameters, info.Rows, info.ValRows
	if info.TokensPerStep > 0 {
		r.tokenRate.work = info.FlopsPerStep / float64(info.TokensPerStep)
	}
	for _, m := range info.Earlier {
		r.addMetrics(m)
	}
	r.earlier(info.EarlierVal)
}

func (r *Run) step(m train.StepMetrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addMetrics(m)
	s := &r.state
	s.Memory, s.MemoryPeak, s.Skipped = m.Memory, m.MemoryPeak, m.Skipped
	if m.Steps > 0 {
		s.Steps = m.Steps
	}
	r.curves.Memory.Add(m.Step, float64(m.Memory))
	r.durations.Observe(m.StepSeconds)
	r.updateRates(m)
}

// addMetrics adds a step's metrics, those of metrics.jsonl.
func (r *Run) addMetrics(m train.StepMetrics) {
	s := &r.state
	s.Step, s.Tokens, s.LR = m.Step, m.Tokens, m.LR
	s.GradNorm = finite(float64(m.GradNorm))
	loss := r.smooth.Add(m.Step, float64(m.Loss))
	s.Loss = finite(loss)
	r.curves.add(m, loss)
}

func (r *Run) badRow(v data.Verdict) {
	text := data.ShortReason(strings.ToValidUTF8(v.Reason, "\uFFFD"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.BadRows++
	if r.reasons[text] == nil && len(r.reasons) >= keepReasons {
		text = "other reasons"
	}
	reason := r.reasons[text]
	if reason == nil {
		reason = &Reason{Reason: text}
		r.reasons[text] = reason
	}
	reason.Count++
	reason.Last = fmt.Sprintf("%s: row %d: %s", v.File, v.Row, v.Reason)
}

func (r *Run) event(kind, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == keepEvents {
		r.events = append(r.events[:0], r.events[1:]...)
	}
	r.events = append(r.events, Event{r.now(), r.state.Step, kind, text})
}

// finite is a value that JSON can represent, nil for others.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
