package serve

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patchwork/internal/require"
)

// queued is the number of those that wait.
func (t *Turns) queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting.n
}

// TestTurns: clients take turns, whoever came first, and one that leaves keeps nobody waiting.
func TestTurns(t *testing.T) {
	turns := NewTurns(1)
	end, err := turns.Wait(t.Context(), "a")
	require.NoError(t, err)
	order := make(chan string, 10)
	var all sync.WaitGroup
	wait := func(ctx context.Context, name string) {
		before := turns.queued()
		all.Go(func() {
			if done, err := turns.Wait(ctx, name[:1]); err == nil {
				order <- name
				done()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		for turns.queued() == before {
			time.Sleep(time.Millisecond)
		}
	}
	leaving, leave := context.WithCancel(t.Context())
	for _, name := range []string{"a1", "a2", "a3"} {
		wait(t.Context(), name)
	}
	wait(leaving, "b0")
	for _, name := range []string{"b1", "c1"} {
		wait(t.Context(), name)
	}
	leave()
	for turns.queued() > 5 {
		time.Sleep(time.Millisecond)
	}
	end()
	all.Wait()
	if got, want := joined(order), "a1 b1 c1 a2 a3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestTurnsLeft: no turn is lost to clients that leave just as theirs comes, and no more than so many have one.
func TestTurnsLeft(t *testing.T) {
	const most = 2
	turns := NewTurns(most)
	var all sync.WaitGroup
	var active atomic.Int32
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*100*time.Microsecond)
			defer cancel()
			done, err := turns.Wait(ctx, string(rune('a'+i%5)))
			if err != nil {
				return
			}
			if active.Add(1) > most {
				t.Errorf("more than %d at a time", most)
			}
			time.Sleep(100 * time.Microsecond)
			active.Add(-1)
			done()
		})
	}
	all.Wait()
	if turns.free != most || turns.waiting.n != 0 {
		t.Errorf("%d of %d are free, %d wait", turns.free, most, turns.waiting.n)
	}
}
