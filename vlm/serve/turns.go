package serve

import (
	"context"
	"sync"
)

// Turns limits how many do something at a time. Clients that wait take turns, so that one with much to do
// keeps others waiting no longer than one of its own does.
type Turns struct {
	mu      sync.Mutex
	free    int
	waiting queue[chan struct{}]
}

// NewTurns lets n do something at a time.
func NewTurns(n int) *Turns { return &Turns{free: n} }

// Wait waits for a client's turn, of which done is the end, or until ctx is cancelled.
func (t *Turns) Wait(ctx context.Context, client string) (done func(), err error) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return t.next, nil
	}
	turn := make(chan struct{})
	t.waiting.push(client, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return t.next, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	waited := t.waiting.remove(client, turn)
	t.mu.Unlock()
	if !waited { // the turn has come meanwhile
		t.next()
	}
	return nil, ctx.Err()
}

// next gives a turn that has ended to the next client.
func (t *Turns) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn, ok := t.waiting.pop(); ok {
		close(turn)
		return
	}
	t.free++
}
