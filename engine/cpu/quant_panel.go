package cpu

import (
	"sync"

	"patchwork/shaders"
	quantsimd "patchwork/shaders/quant/simd"
)

const (
	// panelRows is the number of rows of a from which panels of b are faster than its blocks.
	panelRows = 3
	// panelBlocks is the number of blocks of a panel that are unpacked at once, to stay in the first-level
	// cache.
	panelBlocks = 24
)

var panelPool = sync.Pool{New: func() any { return new([panelBlocks * quantsimd.PanelBytes]byte) }}

// panelDots quantises a once, then computes columns of c in parallel, 16 at a time.
func (h *host) panelDots(f quantsimd.Format, g shaders.GemmQuant) {
	q, per, most := quantizedPool.Get().(*quantized), g.K/quantsimd.Values, len(f.PanelDots)
	defer quantizedPool.Put(q)
	q.reserve(g.M * per)
	for i := 0; i < g.M; i += most {
		f.QuantizePanel(q.blocks[i*per:], q.scales[i*per:], g.A[i*g.LDA:], g.LDA, min(most, g.M-i), g.K)
	}
	whole := g.N / quantsimd.PanelRows
	h.Parallel(whole, max(1, dotsTile.minWork/(g.M*g.K*quantsimd.PanelRows)), func(lo, hi int) {
		panel := panelPool.Get().(*[panelBlocks * quantsimd.PanelBytes]byte)
		defer panelPool.Put(panel)
		for j := lo; j < hi; j++ {
			q.panel(f, g, panel, j*quantsimd.PanelRows)
		}
	})
	if n := whole * quantsimd.PanelRows; n < g.N {
		q.lastPanel(f, g, n)
	}
}

// panel computes the columns of c of the panel at row j of b.
func (q *quantized) panel(f quantsimd.Format, g shaders.GemmQuant, panel *[panelBlocks * quantsimd.PanelBytes]byte, j int) {
	row, per, most := g.Format.Bytes(g.K), g.K/quantsimd.Values, len(f.PanelDots)
	size := g.Format.Bytes(quantsimd.Values)
	beta := g.Beta
	for first := 0; first < per; first += panelBlocks {
		n := min(panelBlocks, per-first)
		next := quantsimd.PanelRows*row + (quantsimd.PanelRows-1)*first*size // the same part of the next panel
		f.Panel(&panel[0], &g.B[j*row+first*size], row, next, n)
		for i := 0; i < g.M; i += most {
			rows := min(most, g.M-i)
			at := i*per + first*rows
			f.PanelDots[rows-1](n, &q.blocks[at].Values[0], &q.scales[at].Scale, &panel[0], &g.C[i*g.LDC+j], g.LDC, beta)
		}
		beta = 1
	}
}

// lastPanel computes columns of c from j on, which are fewer than a panel's, in copies.
func (q *quantized) lastPanel(f quantsimd.Format, g shaders.GemmQuant, j int) {
	row, columns := g.Format.Bytes(g.K), g.N-j
	copied := g
	copied.B = make([]byte, quantsimd.PanelRows*row)
	copy(copied.B, g.B[j*row:])
	copied.C, copied.LDC = make([]float32, g.M*quantsimd.PanelRows), quantsimd.PanelRows
	for i := range g.M {
		copy(copied.C[i*quantsimd.PanelRows:], g.C[i*g.LDC+j:][:columns])
	}
	q.panel(f, copied, panelPool.New().(*[panelBlocks * quantsimd.PanelBytes]byte), 0)
	for i := range g.M {
		copy(g.C[i*g.LDC+j:][:columns], copied.C[i*quantsimd.PanelRows:])
	}
}
