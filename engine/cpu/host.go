package cpu

import (
	"sync"
	"time"

	"patchwork/shaders"
)

// host implements shaders.Host: parallel loops, matmuls and scratch memory.
type host struct {
	threads int
	matmul  matmul
	step    []uint32
	scratch sync.Pool
	pool    *workerPool // while a program runs with spinning workers
}

func newHost(threads int, p matmul) *host { return &host{threads: threads, matmul: p} }

func (h *host) Step() []uint32 { return h.step }

// maxChunks is the largest number of chunks of Parallel: enough to balance uneven chunks
// over the cores, and the same on every machine.
const maxChunks = 64

// runProgram runs a program, with a worker pool if its spin policy chooses so.
func (h *host) runProgram(p *spinPolicy, f func() error) error {
	spinning := h.threads > 1 && p.spinning()
	if spinning {
		h.pool = startPool(h.threads - 1)
		defer func() { h.pool.stop(); h.pool = nil }()
	}
	start := time.Now()
	err := f()
	p.record(spinning, time.Since(start))
	return err
}

// Parallel distributes chunks of [0,n) to the cores as they become free.
func (h *host) Parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	size := max(grain, ceil(n, maxChunks), 1)
	j := &job{n: n, size: size, count: ceil(n, size), f: f}
	switch workers := min(h.threads, j.count) - 1; {
	case workers == 0:
	case h.pool != nil:
		h.pool.job.Store(j)
	default:
		for range workers {
			go j.work()
		}
	}
	j.work()
	spin(j.finished)
}

// Gemm computes tiles of c in parallel.
func (h *host) Gemm(g shaders.Gemm) {
	if g.M == 0 || g.N == 0 {
		return
	}
	p := h.matmul.forShape(g)
	tm, tn := p.tile(g.M, g.N, g.K, h.threads)
	rows, cols := ceil(g.M, tm), ceil(g.N, tn)
	if rows*cols == 1 {
		p.serial(g)
		return
	}
	h.Parallel(rows*cols, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p.serial(part(g, i/cols*tm, tm, i%cols*tn, tn))
		}
	})
}

// part is the matmul restricted to rows [i,i+tm) and columns [j,j+tn) of c.
func part[T float32 | uint16](g shaders.GemmOf[T], i, tm, j, tn int) shaders.GemmOf[T] {
	g.M, g.N = min(tm, g.M-i), min(tn, g.N-j)
	if g.TransA {
		g.A = g.A[i:]
	} else {
		g.A = g.A[i*g.LDA:]
	}
	switch {
	case g.B == nil: // it is decoded when it is packed
	case g.TransB:
		g.B = g.B[j*g.LDB:]
	default:
		g.B = g.B[j:]
	}
	g.C = g.C[i*g.LDC+j:]
	return g
}

// GemmSerial computes one matmul on the calling goroutine.
func (h *host) GemmSerial(g shaders.Gemm) {
	if g.M > 0 && g.N > 0 {
		h.matmul.forShape(g).serial(g)
	}
}

// Scratch returns working memory from a pool.
func (h *host) Scratch(n int) ([]float32, func()) {
	p, _ := h.scratch.Get().(*[]float32)
	if p == nil || cap(*p) < n {
		s := make([]float32, n)
		p = &s
	}
	*p = (*p)[:cap(*p)]
	return (*p)[:n], func() { h.scratch.Put(p) }
}
