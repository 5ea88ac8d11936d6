package cpu

import (
	"sync"

	"patchwork/shaders"
	quantsimd "patchwork/shaders/quant/simd"
)

// GemmQuant multiplies a few rows of a, rounded to 8 bits, by the blocks of b, and decodes b for more.
func (h *host) GemmQuant(g shaders.GemmQuant) {
	if g.M == 0 || g.N == 0 {
		return
	}
	set := h.matmul.quant
	switch {
	case g.K == 0 || set == nil:
		h.decodedGemm(g)
	case g.TransB && g.M <= fewRows:
		h.quantDots(set.Formats[g.Format], g)
	default:
		h.quantGemm(g)
	}
}

// quantDots quantises a once, then computes columns of c in parallel.
func (h *host) quantDots(f quantsimd.Format, g shaders.GemmQuant) {
	a, most := quantizeRows(f, g), len(f.Dots)
	defer quantizedPool.Put(a)
	per := g.K / quantsimd.Values
	_, cols := dotsTile.tile(g.M, g.N, g.K, h.threads)
	h.Parallel(ceil(g.N, cols), 1, func(lo, hi int) {
		j, n := lo*cols, min(g.N, hi*cols)-lo*cols
		b := &g.B[j*g.Format.Bytes(g.K)]
		for i := 0; i < g.M; i += most {
			f.Dots[min(most, g.M-i)-1](per, &a.blocks[i*per].Values[0], &a.scales[i*per].Scale, b, n, &g.C[i*g.LDC+j], g.LDC, g.Beta)
		}
	})
}

// dotsTile divides the columns of c.
var dotsTile = matmul{rows: fewRows, cols: 16, exact: true, minWork: dotsWork}

// quantized are rows of a in 8 bits, as many together as a kernel takes.
type quantized struct {
	blocks []quantsimd.Block
	scales []quantsimd.Scale
}

var quantizedPool = sync.Pool{New: func() any { return new(quantized) }}

func quantizeRows(f quantsimd.Format, g shaders.GemmQuant) *quantized {
	q, per, most := quantizedPool.Get().(*quantized), g.K/quantsimd.Values, len(f.Dots)
	if n := g.M * per; len(q.blocks) < n {
		q.blocks, q.scales = make([]quantsimd.Block, n), make([]quantsimd.Scale, n)
	}
	for i := 0; i < g.M; i += most {
		quantsimd.Quantize(q.blocks[i*per:], q.scales[i*per:], g.A[i*g.LDA:], g.LDA, min(most, g.M-i), g.K, f.Offset)
	}
	return q
}
