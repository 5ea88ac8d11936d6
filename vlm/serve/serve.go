// Package serve answers requests of several clients with one model: it queues them fairly, generates
// their answers and hands them on as text, token by token.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// Scheduler answers requests. It is safe for concurrent use.
type Scheduler interface {
	// Submit queues a request. If ctx is cancelled, its answer ends. The error is a *BusyError, a
	// *generate.ContextError if the prompt does not fit, or ErrClosed.
	Submit(ctx context.Context, r Request) (*Answer, error)
	Stats() Stats
	// Context is the most tokens of a prompt and its answer together.
	Context() int
	// Close ends all answers.
	Close()
}

// Request is a prompt and what is to be generated after it.
type Request struct {
	Client string // clients take turns
	Prompt chat.Tokens
	Images [][]byte    // pixels of each image of the prompt
	Clips  [][]float32 // samples of each clip of the prompt

	Choices      int // number of answers; answer i samples with Seed+i
	MaxNewTokens int // of each answer; 0 = as many as fit
	Sampling     generate.Sampling
	Bias         map[int32]float32
	Stop         []string // an answer ends before the first of these texts
	// Constraint returns the limits of the tokens of one answer; nil: none.
	Constraint func() generate.Constraint
	// LogProbs and TopLogProbs are those of generate.Options.
	LogProbs    bool
	TopLogProbs int
	// Reasoning tells reasoning from the answer; without it, all is answer.
	Reasoning bool
	// Observe, unless nil, are the tokens of a known answer. Nothing is generated; the answer is one event
	// with the attention from which each of them was predicted.
	Observe []int32
	// Ended, unless nil, is called when an answer that was begun has ended.
	Ended func(Usage)
}

// Event is a part of an answer.
type Event struct {
	Choice    int
	Text      string
	Reasoning bool                    // Text is reasoning
	Tokens    []Token                 // of Text, if the request asks for LogProbs
	Finish    string                  // "stop" or "length" in the last event of a choice, else ""
	Attention []generate.AttentionMap // of Request.Observe
}

// Token is a generated token with its bytes.
type Token struct {
	generate.Token
	Bytes []byte
}

// Usage is what a request took.
type Usage struct {
	PromptTokens, CachedTokens, CompletionTokens, ReasoningTokens int
	// Queued and FirstToken are since the request was submitted; 0: there was no token.
	Queued, FirstToken, Prefill, Decode time.Duration
}

// Stats are the state of a scheduler.
type Stats struct {
	Queued, Running            int
	CacheTokens, CacheCapacity int // of the key/value cache
	Restarts                   int // after a lost device
	MemoryBytes                int64
	Lost                       bool // the device was lost, and could not be opened again
}

// ErrClosed reports a request to a scheduler that is closed.
var ErrClosed = errors.New("the server is shutting down")

// ErrUnavailable reports a model that cannot be loaded again after its device was lost.
var ErrUnavailable = errors.New("the model is not available")

// BusyError reports a full queue.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("too many requests are waiting; try again in %s", e.RetryAfter)
}

// Answer is the answer to a request while it is generated.
type Answer struct {
	wake chan struct{} // has an element when there is something to read

	mu     sync.Mutex
	events []Event
	err    error // why it ended; io.EOF: it is complete
	usage  Usage
	first  time.Time // of the first event
}

// NewAnswer returns an answer without events, for a Scheduler.
func NewAnswer() *Answer { return &Answer{wake: make(chan struct{}, 1)} }

// Next waits for the next event. The error is io.EOF after the last, or why the answer ended.
func (a *Answer) Next(ctx context.Context) (Event, error) {
	for {
		a.mu.Lock()
		if len(a.events) > 0 {
			e := a.events[0]
			a.events = a.events[1:]
			a.mu.Unlock()
			return e, nil
		}
		err := a.err
		a.mu.Unlock()
		if err != nil {
			return Event{}, err
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Usage returns what the request took; it is complete after the last event.
func (a *Answer) Usage() Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.usage
}

// Add adds an event. It joins one that has not been read, so that a slow reader keeps nobody waiting
// and takes no more memory than the answer's text.
func (a *Answer) Add(e Event) {
	a.mu.Lock()
	if a.first.IsZero() {
		a.first = time.Now()
	}
	if n := len(a.events); n > 0 && a.events[n-1].joins(e) {
		last := &a.events[n-1]
		last.Text, last.Tokens, last.Finish = last.Text+e.Text, append(last.Tokens, e.Tokens...), e.Finish
	} else {
		a.events = append(a.events, e)
	}
	a.mu.Unlock()
	a.signal()
}

// joins reports whether the next event can be part of this one.
func (e Event) joins(next Event) bool {
	return e.Choice == next.Choice && e.Finish == "" && (e.Reasoning == next.Reasoning || next.Text == "")
}

// End ends the answer; nil: it is complete.
func (a *Answer) End(u Usage, err error) {
	if err == nil {
		err = io.EOF
	}
	a.mu.Lock()
	if a.err == nil {
		a.err, a.usage = err, u
	}
	a.mu.Unlock()
	a.signal()
}

// sinceFirst returns the time from start to the first event; 0: there was none.
func (a *Answer) sinceFirst(start time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first.IsZero() {
		return 0
	}
	return a.first.Sub(start)
}

func (a *Answer) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
