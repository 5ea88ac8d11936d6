package cpu

import (
	"sync"

	"patchwork/shaders"
	quantsimd "patchwork/shaders/quant/simd"
)

// dotsCalls is the number of calls of a kernel for all rows of a up to which rounding a to 8 bits and
// reading the blocks of b directly is faster than decoding them.
const dotsCalls = 8

// GemmQuant multiplies few rows of a, rounded to 8 bits, by the blocks of b. For more it decodes b, to
// bf16 where the processor multiplies that.
func (h *host) GemmQuant(g shaders.GemmQuant) {
	if g.M == 0 || g.N == 0 {
		return
	}
	g.B = g.B[:g.Format.Bytes(g.N*g.K)] // assembly checks no bounds
	set := h.matmul.quant
	switch {
	case g.ABF16 != nil:
		h.bf16QuantGemm(g)
	case g.K == 0 || set == nil:
		h.decodedGemm(g)
	case g.TransB && g.FullPrecision && g.M <= mostPrecise(set.Formats[g.Format]):
		h.preciseDots(set.Formats[g.Format], g)
	case g.TransB && !g.FullPrecision && g.M <= dotsCalls*len(set.Formats[g.Format].Dots):
		h.quantDots(set.Formats[g.Format], g)
	case g.TransB && !g.FullPrecision && h.HasBF16():
		h.roundedQuantGemm(g)
	default:
		h.quantGemm(g)
	}
}

// mostPrecise is the number of rows of a up to which two roundings to 8 bits are faster than decoding b.
func mostPrecise(f quantsimd.Format) int {
	if f.Panel != nil {
		return 16
	}
	return 2
}

// preciseDots rounds a to 8 bits, and what that leaves once more: two rows for each, read with b once.
func (h *host) preciseDots(f quantsimd.Format, g shaders.GemmQuant) {
	m, n, k := g.M, g.N, g.K
	a, releaseA := h.Scratch(2 * m * k)
	defer releaseA()
	sums, releaseSums := h.Scratch(2 * m * n)
	defer releaseSums()
	for i := range m {
		row := a[2*i*k:][:2*k]
		copy(row, g.A[i*g.LDA:][:k])
		quantsimd.Remainder(row[k:], row[:k])
	}
	wide := g
	wide.M, wide.A, wide.LDA, wide.C, wide.LDC, wide.Beta = 2*m, a, k, sums, n, 0
	h.quantDots(f, wide)
	for i := range m {
		x, y := sums[2*i*n:][:n], sums[(2*i+1)*n:][:n]
		c := g.C[i*g.LDC:][:n]
		h.Parallel(n, 1<<14, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				sum := x[j] + y[j]
				if g.Beta != 0 {
					sum += g.Beta * c[j]
				}
				c[j] = sum
			}
		})
	}
}

// quantDots quantises a once, then computes columns of c in parallel.
func (h *host) quantDots(f quantsimd.Format, g shaders.GemmQuant) {
	if f.Panel != nil && g.M >= panelRows && g.Format.Bytes(g.K) < 1<<26 {
		h.panelDots(f, g)
		return
	}
	a := quantizeRows(f, g)
	defer quantizedPool.Put(a)
	_, cols := dotsTile.tile(g.M, g.N, g.K, h.threads)
	h.Parallel(ceil(g.N, cols), 1, func(lo, hi int) {
		a.dots(f, g, lo*cols, min(g.N, hi*cols))
	})
}

// dots computes columns [j,end) of c. With more rows than a kernel takes, all of them use a part of b
// that stays in the first-level cache before the next part.
func (a *quantized) dots(f quantsimd.Format, g shaders.GemmQuant, j, end int) {
	row, blocks, most := g.Format.Bytes(g.K), g.K/quantsimd.Values, len(f.Dots)
	part := end - j
	if g.M > most {
		part = max(1, 1<<13/row)
	}
	for ; j < end; j += part {
		n := min(part, end-j)
		for i := 0; i < g.M; i += most {
			f.Dots[min(most, g.M-i)-1](blocks, &a.blocks[i*blocks].Values[0], &a.scales[i*blocks].Scale, &g.B[j*row], n, &g.C[i*g.LDC+j], g.LDC, g.Beta)
		}
	}
}

// dotsTile divides the columns of c. A call is worth some 2 µs.
var dotsTile = matmul{rows: 1 << 16, cols: 16, exact: true, minWork: 1 << 16}

// quantized are rows of a in 8 bits, as many together as a kernel takes.
type quantized struct {
	blocks []quantsimd.Block
	scales []quantsimd.Scale
}

func (q *quantized) reserve(n int) {
	if len(q.blocks) < n {
		q.blocks, q.scales = make([]quantsimd.Block, n), make([]quantsimd.Scale, n)
	}
}

var quantizedPool = sync.Pool{New: func() any { return new(quantized) }}

func quantizeRows(f quantsimd.Format, g shaders.GemmQuant) *quantized {
	q, per, most := quantizedPool.Get().(*quantized), g.K/quantsimd.Values, len(f.Dots)
	q.reserve(g.M * per)
	for i := 0; i < g.M; i += most {
		f.Quantize(q.blocks[i*per:], q.scales[i*per:], g.A[i*g.LDA:], g.LDA, min(most, g.M-i), g.K)
	}
	return q
}
