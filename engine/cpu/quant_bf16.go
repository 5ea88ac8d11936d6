package cpu

import (
	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// roundedQuantGemm rounds a to bf16 and multiplies.
func (h *host) roundedQuantGemm(g shaders.GemmQuant) {
	a, release := h.Scratch(ceil(g.M*g.K, 2))
	defer release()
	rounded := bf16s(a)[:g.M*g.K]
	h.Parallel(g.M, max(1, widenGrain/g.K), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			simd.Pack(shaders.BF16.Format(), rounded[i*g.K:][:g.K], g.A[i*g.LDA:][:g.K])
		}
	})
	g.ABF16, g.LDA = rounded, g.K
	h.bf16QuantGemm(g)
}

// bf16QuantGemm multiplies a in bf16 by b, which is decoded and rounded to bf16 as it is packed.
func (h *host) bf16QuantGemm(g shaders.GemmQuant) {
	decode := h.matmul.quant.Formats[g.Format].Decode
	whole := shaders.GemmBF16{TransB: g.TransB, M: g.M, N: g.N, K: g.K, Alpha: 1, A: g.ABF16, LDA: g.LDA, Beta: g.Beta, C: g.C, LDC: g.LDC}
	h.bf16Tiles(whole, func(f pairFactors, j int, tiled bool) {
		temp := decodedPool.Get().(*decoded)
		defer decodedPool.Put(temp)
		pairs := quantPairFactors{f, quantPanels{g, decode, j, temp[:]}}
		if tiled {
			multiply(f.blocked, quantTileFactors{tileFactors{f}, pairs})
		} else {
			multiply(f.blocked, pairs)
		}
	})
}

// quantPairFactors are those of a in bf16, and of b decoded and rounded to it.
type quantPairFactors struct {
	pairFactors
	quantPanels
}

func (f quantPairFactors) packB(to []float32, k, depth, j, n int) {
	if f.b.TransB {
		f.packPairColumns(to, f.Cols, k, depth, j, n)
		return
	}
	for l := 0; l < depth; l += quantRows { // an even number
		f.packPairRows(to[l/2*f.Cols:], f.pairFactors, k+l, min(quantRows, depth-l), j, n)
	}
}

// quantTileFactors are the same for tiles.
type quantTileFactors struct {
	tileFactors
	pairs quantPairFactors
}

func (f quantTileFactors) packB(to []float32, k, depth, j, n int) {
	f.pairs.packB(to, k, depth, j, n)
	f.pad(to, depth)
}
