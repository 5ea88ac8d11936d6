package cpu

import (
	"math"
	"sync"

	"patchwork/shaders"
	quantsimd "patchwork/shaders/quant/simd"
	"patchwork/shaders/simd"
)

// matmul is an implementation of matmul on one goroutine.
type matmul struct {
	name       string
	gemm       func(g shaders.Gemm)
	rows, cols int // of c; a tile should be a multiple
	// exact means that the bits of an element of c do not depend on the tile, so that the
	// tiling may depend on the number of threads.
	exact bool
	// minWork is the number of multiply-adds worth a separate call.
	minWork int
	fewRows *matmul        // for few rows of a and b transposed; nil: use this one
	blocked *blocked       // for bf16 and quantised matrices; nil: there are no kernels
	tiled   *blocked       // for bf16 matrices by tiles; nil: the processor has none
	quant   *quantsimd.Set // with blocked; nil: there are no kernels
}

// bestMatmul is our own microkernel where the processor has AVX2, AVX-512 or NEON. OpenBLAS is
// second: on shapes as small as a 96-wide model's it is slower, and a release older than
// the processor falls back to SSE kernels.
var bestMatmul = sync.OnceValue(func() matmul {
	if own := ownMatmuls(); len(own) > 0 {
		return own[0]
	}
	if p, ok := blasMatmul(); ok {
		return p
	}
	return goMatmul
})

func ownMatmuls() []matmul {
	var matmuls []matmul
	sets := quantsimd.Sets()
	for i, t := range simd.Tiles() {
		few, own := dotsMatmul(t.Name, t), newBlocked(t)
		m := matmul{name: t.Name, gemm: own.gemm, rows: t.Rows, cols: t.Cols, exact: true, minWork: blockedWork, fewRows: &few, blocked: own, tiled: newTiled(t)}
		if len(sets) > 0 {
			m.quant = &sets[min(i, len(sets)-1)]
		}
		matmuls = append(matmuls, m)
	}
	return matmuls
}

// forShape is p, or its replacement for few rows.
func (p matmul) forShape(g shaders.Gemm) matmul {
	if p.fewRows != nil && dotsFit(g) {
		return *p.fewRows
	}
	return p
}

// blockedWork is the number of multiply-adds worth a call: some 10 µs.
const blockedWork = 1 << 20

// serial computes a matmul on the calling goroutine. With k = 0 c is only scaled.
func (p matmul) serial(g shaders.Gemm) {
	if g.K > 0 && g.Alpha != 0 {
		p.gemm(g)
		return
	}
	for i := range g.M {
		row := g.C[i*g.LDC:][:g.N]
		for j := range row {
			if g.Beta == 0 {
				row[j] = 0
			} else {
				row[j] *= g.Beta
			}
		}
	}
}

// packCost is what packing a value costs, in multiply-adds of the kernel.
const packCost = 16

// tile chooses the size of the tiles of c [m,n] that one call computes: large enough to be worth a
// call, at most twice as many as threads for load balance, and with little packing: every tile packs
// its columns of b, and its rows of a where there are many columns.
func (p matmul) tile(m, n, k, threads int) (tm, tn int) {
	if !p.exact {
		threads = 8
	}
	tm, tn = roundUp(m, p.rows), roundUp(n, p.cols)
	count := min(m*n*k/p.minWork, 2*threads)
	if threads == 1 || count < 2 {
		return tm, tn
	}
	best := math.MaxInt
	for rows := 1; rows <= count; rows++ {
		r, c := roundUp(ceil(m, rows), p.rows), roundUp(ceil(n, count/rows), p.cols)
		waves := ceil(ceil(m, r)*ceil(n, c), threads)
		work := r*c + packCost*c
		if c >= packColumns {
			work += packCost * r
		}
		if work *= waves; work < best {
			best, tm, tn = work, r, c
		}
	}
	return tm, tn
}

func ceil(a, b int) int { return (a + b - 1) / b }

func roundUp(n, to int) int { return ceil(n, to) * to }
