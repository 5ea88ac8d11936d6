package cpu

import (
	"sync"
	"sync/atomic"

	"patchwork/shaders"
)

// host offers the cores and the matrix products to the kernels' CPU forms.
type host struct {
	threads int
	product product
	step    []uint32
	scratch sync.Pool
}

func newHost(threads int, p product) *host { return &host{threads: threads, product: p} }

func (h *host) Step() []uint32 { return h.step }

// pieces is how many pieces Parallel cuts its range into at most: enough that
// uneven pieces even out over the cores, the same on every machine.
const pieces = 64

// Parallel hands out pieces of [0,n) to the cores as they become free.
func (h *host) Parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	size := max(grain, (n+pieces-1)/pieces, 1)
	count := (n + size - 1) / size
	workers := min(h.threads, count)
	if workers == 1 {
		for lo := 0; lo < n; lo += size {
			f(lo, min(lo+size, n))
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= count {
				return
			}
			f(i*size, min((i+1)*size, n))
		}
	}
	var wait sync.WaitGroup
	for range workers - 1 {
		wait.Go(work)
	}
	work()
	wait.Wait()
}

// Gemm cuts c into tiles.
func (h *host) Gemm(g shaders.Gemm) {
	if g.M == 0 || g.N == 0 {
		return
	}
	p := h.product.forShape(g)
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

// part is the product restricted to rows [i,i+tm) and columns [j,j+tn) of c.
func part(g shaders.Gemm, i, tm, j, tn int) shaders.Gemm {
	g.M, g.N = min(tm, g.M-i), min(tn, g.N-j)
	if g.TransA {
		g.A = g.A[i:]
	} else {
		g.A = g.A[i*g.LDA:]
	}
	if g.TransB {
		g.B = g.B[j*g.LDB:]
	} else {
		g.B = g.B[j:]
	}
	g.C = g.C[i*g.LDC+j:]
	return g
}

// GemmSerial computes one product on the calling goroutine.
func (h *host) GemmSerial(g shaders.Gemm) {
	if g.M > 0 && g.N > 0 {
		h.product.forShape(g).serial(g)
	}
}

// Scratch hands out working memory from a pool.
func (h *host) Scratch(n int) ([]float32, func()) {
	p, _ := h.scratch.Get().(*[]float32)
	if p == nil || cap(*p) < n {
		s := make([]float32, n)
		p = &s
	}
	*p = (*p)[:cap(*p)]
	return (*p)[:n], func() { h.scratch.Put(p) }
}
