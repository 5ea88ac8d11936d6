// Package mpi joins the processes that mpirun or srun started into one job. The MPI library is
// found at run time, without cgo, and only in a process that such a launcher started.
//
// A World that is nil is a world of one process: all methods work on it, and every collective
// returns what the process itself contributes.
package mpi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// World is the set of the job's processes, its ranks. Its methods may be called concurrently.
type World struct {
	rank, size int
	peers      []hello // by rank
	machines   [][]int // see layout
	transport  transport

	failed  chan struct{} // closed when the job fails
	failure atomic.Pointer[RankError]
	agreed  atomic.Pointer[error] // see Agree
	closed  chan struct{}         // closed by end
	end     func()                // ends the watch
	leave   chan struct{}         // closed when rank 0 is silent after a failure
	closing sync.Once
	leaving sync.Once
	watch   watch
	kept    []any // see Keep
}

// RankError is the failure of a rank, which ends the job.
type RankError struct {
	Rank   int
	Host   string
	Reason string // one line
	Local  bool   // this process is the rank that reported it
	// Silent is set for a rank that has stopped answering. It will not take part in anything any
	// more, and Close ends the job without it.
	Silent bool
	// Stuck is set for a rank whose training loop makes no progress. Its process still answers.
	Stuck bool
}

func (e *RankError) Error() string { return fmt.Sprintf("rank %d (%s): %s", e.Rank, e.Host, e.Reason) }

// sizeVariables are set by launchers to the number of processes.
var sizeVariables = []string{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}

// Launched reports whether a launcher such as mpirun or srun started this process, and the number
// of processes that it started; 0 if it does not tell. It reads the environment alone.
func Launched() (size int, ok bool) {
	for _, name := range sizeVariables {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil || n < 1 {
			continue
		}
		// srun sets its variable for every job step, also for one of a single task.
		if name != "SLURM_STEP_NUM_TASKS" || n > 1 {
			return n, true
		}
	}
	return 0, os.Getenv("PMIX_RANK") != "" || os.Getenv("PMI_RANK") != ""
}

// localRankVariables are set by launchers to the number of a process on its machine.
var localRankVariables = []string{"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID"}

// FirstOnMachine reports whether the launcher started this process as the first on its machine. It
// reads the environment alone; where that does not tell, the answer is true.
func FirstOnMachine() bool {
	for _, name := range localRankVariables {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n == 0
		}
	}
	return true
}

// Join joins the job. It returns nil, a world of one, in a process that no launcher started or
// that it started alone. It must be called once.
func Join(ctx context.Context) (*World, error) {
	size, ok := Launched()
	if !ok || size == 1 {
		return nil, nil
	}
	t, err := openMPI(ctx)
	if err != nil {
		return nil, err
	}
	if t.size() == 1 {
		t.leave()
		if size > 1 {
			return nil, fmt.Errorf("%d processes were started, but %s joins each into a job of its own: start them with the mpirun of that library, or with srun --mpi=pmix", size, t.library())
		}
		return nil, nil
	}
	return newWorld(ctx, t)
}

// newWorld exchanges greetings over a transport and starts the watch.
func newWorld(ctx context.Context, t transport) (*World, error) {
	w := &World{rank: t.rank(), size: t.size(), transport: t, failed: make(chan struct{}), closed: make(chan struct{}), leave: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.closed) })
	w.watch.init(w.size)
	t.onControl(w.control)
	if err := w.greet(ctx); err != nil {
		return nil, err
	}
	go w.watchPeers()
	return w, nil
}

// Rank is this process's number, from 0.
func (w *World) Rank() int {
	if w == nil {
		return 0
	}
	return w.rank
}

// Size is the number of processes.
func (w *World) Size() int {
	if w == nil {
		return 1
	}
	return w.size
}

// LocalRank is the number of lower ranks on the same machine.
func (w *World) LocalRank() int {
	if w == nil {
		return 0
	}
	return w.onMachine(w.rank)
}

// LocalSize is the number of ranks on the same machine.
func (w *World) LocalSize() int {
	if w == nil {
		return 1
	}
	return w.onMachine(w.size)
}

// onMachine counts the ranks below n on this machine.
func (w *World) onMachine(n int) int {
	count := 0
	for _, p := range w.peers[:n] {
		if p.Machine == w.peers[w.rank].Machine {
			count++
		}
	}
	return count
}

// Host is the host name of a rank.
func (w *World) Host(rank int) string {
	if w == nil || rank < 0 || rank >= len(w.peers) {
		name, _ := os.Hostname()
		return name
	}
	return w.peers[rank].Host
}

// Cores is the number of processor cores that this rank can use without taking them from another
// rank: those that the launcher bound it to, divided by the ranks that are bound to the same ones.
func (w *World) Cores() int {
	if w == nil {
		return cores()
	}
	same := 0
	for _, p := range w.peers {
		if p.Machine == w.peers[w.rank].Machine && p.Affinity == w.peers[w.rank].Affinity {
			same++
		}
	}
	return max(1, cores()/same)
}

// Channel returns stream n of messages, from 0 to MaxChannels-1. Streams are independent; each is used by one
// goroutine at a time, and all ranks call the same methods of it in the same order. Stream 0
// belongs to the goroutine that calls Progress, and waiting in it is no lack of progress.
func (w *World) Channel(n int) *Channel {
	if w == nil {
		return nil
	}
	return &Channel{world: w, tag: firstTag + n}
}

// Err returns the *RankError that ended the job, nil while it runs.
func (w *World) Err() error {
	if w == nil {
		return nil
	}
	if e := w.failure.Load(); e != nil {
		return e
	}
	return nil
}

// Agree ends a phase that every rank ends with an error or without. If any has one, all return an
// error: their own, or that of the lowest rank that has one as a *RankError. The job has not
// failed then: every rank knows that it ends, and Fail of that error does nothing.
func (c *Channel) Agree(ctx context.Context, err error) error {
	if c == nil {
		return err
	}
	// A text is never empty where there is an error.
	var mine []byte
	if err != nil {
		mine = []byte(" " + err.Error())
	}
	all, failed := c.AllGather(ctx, mine)
	if failed != nil {
		return failed
	}
	for rank, text := range all {
		if len(text) == 0 {
			continue
		}
		if err == nil {
			err = &RankError{Rank: rank, Host: c.world.Host(rank), Reason: oneLine(string(text[1:]))}
		}
		c.world.agreed.Store(&err)
		return err
	}
	return nil
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

// Fail reports an error of this rank to all others, unless it is what another rank has reported or
// all have agreed on: their collectives return it as a *RankError. Every rank must call Close then.
func (w *World) Fail(err error) {
	if w == nil || err == nil {
		return
	}
	if agreed := w.agreed.Load(); agreed != nil && errors.Is(err, *agreed) {
		return
	}
	w.fail(&RankError{Rank: w.rank, Host: w.Host(w.rank), Reason: err.Error(), Local: true})
}

// Speaks reports whether this rank reports the failure of the job: rank 0, unless that is the one
// that does not answer or hangs.
func (w *World) Speaks() bool {
	if w == nil || w.rank == 0 {
		return true
	}
	e := w.failure.Load()
	return e != nil && e.Rank == 0 && (e.Silent || e.Stuck && w.rank == 1)
}

// Keep keeps memory outside Go's heap, which messages that have not ended may still use, from being
// released before Close: x refers to it.
func (w *World) Keep(x any) {
	if w != nil {
		w.kept = append(w.kept, x)
	}
}

// drainTimeout limits how long Close waits once all ranks have called it.
const drainTimeout = 30 * time.Second

// Close leaves the job and ends this process with an exit code; all ranks call it, and it waits for
// them. After a failure it ends all processes of the job. In a world of one it does nothing.
func (w *World) Close(code int) {
	if w == nil {
		return
	}
	w.Pause() // for good: the watch is for the training loop
	w.closing.Do(func() {
		line := ""
		if w.Err() == nil {
			err := w.part()
			if err == nil {
				w.end()
				w.transport.exit(code)
				return
			}
			line = "leaving the MPI job: " + err.Error()
		}
		if w.Speaks() {
			w.Abort(code, line)
		}
		// The rank that speaks may still be saving a checkpoint. Its abort ends this process.
		<-w.leave
		os.Exit(code)
	})
}

// part waits until no rank has messages for another one.
func (w *World) part() error {
	c := &Channel{world: w, tag: closeTag}
	// Rank 0 may still write files. No rank starts anything from here on.
	if _, err := c.AllGather(context.Background(), nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := w.transport.drain(ctx); err != nil {
		return err
	}
	_, err := c.AllGather(ctx, nil)
	return err
}

// Abort writes a line to standard error, unless it is empty, and ends all processes of the job
// with an exit code.
func (w *World) Abort(code int, line string) {
	if line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	if w != nil {
		w.transport.abort(code)
	}
	os.Exit(code)
}
