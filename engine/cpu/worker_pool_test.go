package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestParallel checks that every element is visited once, with and without a worker pool,
// and from within a chunk.
func TestParallel(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		for _, pool := range []bool{false, true} {
			h := newHost(threads, goMatmul)
			if pool && threads > 1 {
				h.pool = startPool(threads - 1)
				defer h.pool.stop()
			}
			for _, n := range []int{0, 1, 63, 64, 65, 1000} {
				visits := make([]atomic.Int32, n*2)
				h.Parallel(n, 1, func(lo, hi int) {
					h.Parallel(2*(hi-lo), 1, func(l, r int) {
						for i := 2*lo + l; i < 2*lo+r; i++ {
							visits[i].Add(1)
						}
					})
				})
				for i := range visits {
					if v := visits[i].Load(); v != 1 {
						t.Fatalf("%d threads, pool %v, n = %d: element %d visited %d times", threads, pool, n, i, v)
					}
				}
			}
		}
	}
}

// TestSpinPolicy checks that the faster way is chosen except for retries, and that it
// changes when the other one has become faster.
func TestSpinPolicy(t *testing.T) {
	var p spinPolicy
	run := func(n int, alone, spun time.Duration) (spinning int) {
		for range n {
			s := p.spinning()
			if s {
				spinning++
				p.record(s, spun)
			} else {
				p.record(s, alone)
			}
		}
		return spinning
	}
	if n := run(20*retryEvery, 37, 27); n < 18*retryEvery {
		t.Errorf("on a quiet machine only %d of %d runs had a worker pool", n, 20*retryEvery)
	}
	run(20*retryEvery, 50, 200)
	if n := run(20*retryEvery, 50, 200); n > 2*retryEvery {
		t.Errorf("on a busy machine %d of %d runs had a worker pool", n, 20*retryEvery)
	}
}
