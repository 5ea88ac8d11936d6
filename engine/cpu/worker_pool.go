package cpu

import (
	"runtime"
	"sync/atomic"

	"patchwork/shaders/simd"
)

// job is a range divided into chunks.
type job struct {
	n, size, count int
	f              func(lo, hi int)
	next, done     atomic.Int64 // chunks
}

// work runs chunks until none is left.
func (j *job) work() {
	for {
		i := int(j.next.Add(1)) - 1
		if i >= j.count {
			return
		}
		j.f(i*j.size, min((i+1)*j.size, j.n))
		j.done.Add(1)
	}
}

func (j *job) finished() bool { return j.done.Load() == int64(j.count) }

// workerPool is the workers that share the caller's jobs during a run of a program.
type workerPool struct {
	job  atomic.Pointer[job]
	quit atomic.Bool
}

// startPool starts workers that spin while they wait for jobs: a step has some 300 of 100
// µs, and waking a sleeping thread takes up to as long.
func startPool(workers int) *workerPool {
	p := &workerPool{}
	for range workers {
		go p.run()
	}
	return p
}

// stop ends the workers, without waiting for them: at most they find that no chunk is
// left.
func (t *workerPool) stop() { t.quit.Store(true) }

func (t *workerPool) run() {
	var last *job
	for !t.quit.Load() {
		spin(func() bool { return t.job.Load() != last || t.quit.Load() })
		if last = t.job.Load(); last != nil {
			last.work()
		}
	}
}

// spin waits for ready, letting other goroutines run now and then.
func spin(ready func() bool) {
	for {
		for range 32 {
			if ready() {
				return
			}
			simd.Pause()
		}
		runtime.Gosched()
	}
}
