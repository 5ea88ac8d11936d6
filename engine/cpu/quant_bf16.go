package cpu

import (
	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// bf16QuantGemm rounds a and the decoded b to bf16. It returns false, and does nothing, where the
// processor does not multiply bf16 values.
func (h *host) bf16QuantGemm(g shaders.GemmQuant) bool {
	if !h.GemmBF16(shaders.GemmBF16{}) {
		return false
	}
	a, release := h.Scratch(ceil(g.M*g.K, 2))
	defer release()
	rounded := bf16s(a)[:g.M*g.K]
	h.Parallel(g.M, max(1, widenGrain/g.K), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			simd.Pack(shaders.BF16.Format(), rounded[i*g.K:][:g.K], g.A[i*g.LDA:][:g.K])
		}
	})
	decode := h.matmul.quant.Formats[g.Format].Decode
	whole := shaders.GemmBF16{TransB: true, M: g.M, N: g.N, K: g.K, Alpha: 1, A: rounded, LDA: g.K, Beta: g.Beta, C: g.C, LDC: g.LDC}
	h.bf16Tiles(whole, func(f pairFactors, j int, tiled bool) {
		temp := decodedPool.Get().(*decoded)
		defer decodedPool.Put(temp)
		panels := quantPanels{g, decode, j, temp[:]}
		if tiled {
			multiply(f.blocked, quantTileFactors{tileFactors{f}, panels})
		} else {
			multiply(f.blocked, quantPairFactors{f, panels})
		}
	})
	return true
}

// quantPairFactors are those of a rounded to bf16, and of b decoded and rounded as it is packed.
type quantPairFactors struct {
	pairFactors
	quantPanels
}

func (f quantPairFactors) packB(to []float32, k, depth, j, n int) {
	f.packPairs(to, f.Cols, k, depth, j, n)
}

// quantTileFactors are the same for tiles. Blocks fill whole steps.
type quantTileFactors struct {
	tileFactors
	quantPanels
}

func (f quantTileFactors) packB(to []float32, k, depth, j, n int) {
	f.packPairs(to, f.Cols, k, depth, j, n)
}
