package mpi

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultTimeout is the initial timeout of SetTimeout.
const DefaultTimeout = 45 * time.Second

// heartbeatInterval is a variable for tests.
var heartbeatInterval = time.Second

// firstStep is how long a rank may take until it calls Progress for the second time: it reads
// weights and compiles programs.
const firstStep = 15 * time.Minute

// watch notices ranks that do not answer and a training loop that makes no progress. Every rank
// sends heartbeats to rank 0, and rank 0 to every rank, so that in a large job one rank reports a
// failure and not all.
type watch struct {
	start    time.Time
	timeout  atomic.Int64   // a time.Duration
	heard    []atomic.Int64 // when each rank was heard last, since start
	progress atomic.Int64   // the time of the last Progress, since start
	steps    atomic.Int64   // calls of Progress
	longest  atomic.Int64   // the longest time between two of them
	paused   atomic.Int64   // number of pauses that have not ended
}

func (t *watch) init(size int) {
	t.start, t.heard = time.Now(), make([]atomic.Int64, size)
	t.timeout.Store(int64(DefaultTimeout))
	t.longest.Store(int64(firstStep))
}

func (t *watch) now() int64 { return int64(time.Since(t.start)) }

// forgive leaves a time out of all waits.
func (t *watch) forgive(d int64) {
	for i := range t.heard {
		t.heard[i].Add(d)
	}
	t.progress.Add(d)
}

// SetTimeout sets how long a rank may be silent, and how much longer than its longest step it may
// make no progress, before the job ends.
func (w *World) SetTimeout(d time.Duration) {
	if w != nil {
		w.watch.timeout.Store(int64(d))
	}
}

// Progress tells that the training loop of this rank is alive. It is called after every step, and
// at least as often within what takes longer than one.
func (w *World) Progress() {
	if w == nil {
		return
	}
	t := &w.watch
	now := t.now()
	since := now - t.progress.Swap(now)
	// The first two steps compile programs.
	if n := t.steps.Add(1); n == 3 {
		t.longest.Store(since)
	} else if n > 3 && since > t.longest.Load() {
		t.longest.Store(since)
	}
}

// Pause begins a wait for something that another part of the program watches, which is no lack of
// progress; the function that it returns ends the wait.
func (w *World) Pause() (resume func()) {
	if w == nil {
		return func() {}
	}
	t := &w.watch
	t.paused.Add(1)
	return func() {
		t.progress.Store(t.now())
		t.paused.Add(-1)
	}
}

// Control messages: a kind, and for kindFailure a RankError as JSON.
const (
	kindHeartbeat = 'h'
	kindFailure   = 'f'
)

// maxControl is the largest number of bytes of a control message.
const maxControl = 2048

// hello is what the ranks tell each other when they join.
type hello struct {
	Host     string `json:"host"`
	Machine  string `json:"machine"`  // the host name, and what tells hosts of the same name apart
	Affinity string `json:"affinity"` // the processor cores of this process
}

func (w *World) greet(ctx context.Context) error {
	mine, err := json.Marshal(here())
	if err != nil {
		return err
	}
	all, err := (&Channel{world: w, tag: greetTag}).AllGather(ctx, mine)
	if err != nil {
		return err
	}
	for _, text := range all {
		var h hello
		if err := json.Unmarshal(text, &h); err != nil {
			return errOutOfStep
		}
		w.peers = append(w.peers, h)
	}
	w.machines = w.layout()
	for i := range w.watch.heard {
		w.watch.heard[i].Store(w.watch.now())
	}
	w.watch.progress.Store(w.watch.now())
	return nil
}

func here() hello {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown host"
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // only on Linux
	return hello{name, name + " " + strings.TrimSpace(string(boot)), affinity()}
}

// watchPeers sends heartbeats and looks for failures until Close.
func (w *World) watchPeers() {
	for last := w.watch.now(); ; {
		select {
		case <-w.closed:
			return
		case <-time.After(heartbeatInterval):
		}
		now := w.watch.now()
		if stopped := now - last - int64(heartbeatInterval); stopped > int64(heartbeatInterval) {
			w.watch.forgive(stopped) // this process was stopped, and heard nobody
		}
		last = now
		for _, i := range w.watched() {
			w.transport.sendControl(i, []byte{kindHeartbeat})
		}
		timeout := time.Duration(w.watch.timeout.Load())
		w.checkSilence(timeout)
		w.checkProgress(timeout)
	}
}

// watched are the ranks with which this one exchanges heartbeats.
func (w *World) watched() (ranks []int) {
	if w.rank > 0 {
		return []int{0}
	}
	for i := 1; i < w.size; i++ {
		ranks = append(ranks, i)
	}
	return ranks
}

// checkSilence fails if a rank has been silent for too long.
func (w *World) checkSilence(timeout time.Duration) {
	// When rank 0 falls silent, the others wait longer the higher their rank, so that one reports it.
	limit := timeout + min(timeout/4, 2*time.Second)*time.Duration(min(8, max(0, w.rank-1)))
	for _, i := range w.watched() {
		silent := time.Duration(w.watch.now() - w.watch.heard[i].Load())
		if silent <= limit {
			continue
		}
		if i == 0 && w.Err() != nil { // it was to report a failure
			w.leaving.Do(func() { close(w.leave) })
		}
		w.fail(&RankError{Rank: i, Host: w.Host(i), Reason: fmt.Sprintf("has not answered for %.0f s; its process or its machine has died or hangs, or the network between is cut", silent.Seconds()), Silent: true})
	}
}

// checkProgress fails if the training loop of this rank has been silent for too long.
func (w *World) checkProgress(timeout time.Duration) {
	t := &w.watch
	if t.paused.Load() > 0 || w.Err() != nil {
		return
	}
	longest := time.Duration(t.longest.Load())
	stuck := time.Duration(t.now() - t.progress.Load())
	if stuck <= longest+timeout {
		return
	}
	w.fail(&RankError{
		Rank: w.rank, Host: w.Host(w.rank), Local: true, Stuck: true,
		Reason: fmt.Sprintf("has made no progress for %.0f s, the longest step before took %.1f s; its device or its disk hangs", stuck.Seconds(), longest.Seconds()),
	})
}

// fail ends the job, unless it has failed already, and tells the others: rank 0 all of them, every
// other rank rank 0.
func (w *World) fail(e *RankError) {
	if !w.failure.CompareAndSwap(nil, e) {
		return
	}
	if len(e.Reason) > maxControl/2 {
		e.Reason = e.Reason[:maxControl/2] + "…"
	}
	e.Reason = oneLine(e.Reason)
	if text, err := json.Marshal(e); err == nil {
		for _, i := range w.watched() {
			if !e.Silent || i != e.Rank {
				w.transport.sendControl(i, append([]byte{kindFailure}, text...))
			}
		}
	}
	close(w.failed)
}

// control handles a control message.
func (w *World) control(from int, message []byte) {
	w.watch.heard[from].Store(w.watch.now())
	if len(message) == 0 || message[0] != kindFailure {
		return
	}
	e := &RankError{}
	if json.Unmarshal(message[1:], e) != nil {
		e = &RankError{Rank: from, Host: w.Host(from), Reason: "failed"}
	}
	e.Local = false
	w.fail(e)
}
