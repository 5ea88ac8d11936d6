package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// SumParams are the parameters of Sum and SumSquares.
type SumParams struct {
	N          Count
	Accumulate uint32
}

// Sum adds up the elements of x into y[0], in a fixed order.
var Sum = Declare(Decl[SumParams]{
	Name: "sum",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Include:  []string{"sum", "group"},
	Variants: sumVariants(0),
	Scratch:  func(p SumParams) int64 { return 4 * int64(chunksOf(p.N.Max, sumChunkSize)) },
	Axes: alongCount(func(p *SumParams) *Count { return &p.N }, func(SumParams) map[string]int64 { return perElement("x") },
		func(p *SumParams, first uint32) { accumulateAfterFirst(&p.Accumulate, first) }),
	CPU: func(h Host, p SumParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		put(y, 0, float32(sumChunks(h, x[:p.N.At(h.Step())], total)), p.Accumulate != 0)
	},
	Reference: func(p SumParams, b []Array) {
		var sum float64
		for _, v := range b[0].F[:p.N.Max] {
			sum += v
		}
		set(b[1].F, 0, sum, p.Accumulate)
	},
	Cost:  func(p SumParams) Cost { return Cost{Flops: float64(p.N.Max), Bytes: 4 * float64(p.N.Max)} },
	Cases: sumCases,
})

// SumSquares adds up the squares of the elements of x into y[0], in a fixed
// order.
var SumSquares = Declare(Decl[SumParams]{
	Name: "sum_squares",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: ReadWrite},
	},
	Include:  []string{"sum", "group"},
	Variants: sumVariants(1),
	Scratch:  func(p SumParams) int64 { return 4 * int64(chunksOf(p.N.Max, sumChunkSize)) },
	Axes: alongCount(func(p *SumParams) *Count { return &p.N }, func(SumParams) map[string]int64 { return perElement("x") },
		func(p *SumParams, first uint32) { accumulateAfterFirst(&p.Accumulate, first) }),
	CPU: func(h Host, p SumParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		put(y, 0, float32(sumChunks(h, x[:p.N.At(h.Step())], simd.SumSquares)), p.Accumulate != 0)
	},
	Reference: func(p SumParams, b []Array) {
		var sum float64
		for _, v := range b[0].F[:p.N.Max] {
			sum += v * v
		}
		set(b[1].F, 0, sum, p.Accumulate)
	},
	Cost:  func(p SumParams) Cost { return Cost{Flops: 2 * float64(p.N.Max), Bytes: 4 * float64(p.N.Max)} },
	Cases: sumCases,
})

// sumChunkSize is the number of elements of a partial sum.
const sumChunkSize = 1 << 14

// sumChunks adds up f over chunks of x.
func sumChunks(h Host, x []float32, f func(chunk []float32) float64) float64 {
	sums := make([]float64, (len(x)+sumChunkSize-1)/sumChunkSize)
	h.Parallel(len(sums), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			sums[i] = f(x[i*sumChunkSize : min((i+1)*sumChunkSize, len(x))])
		}
	})
	return total(sums)
}

func total[F float32 | float64](x []F) (sum float64) {
	for _, v := range x {
		sum += float64(v)
	}
	return sum
}

// sumVariants are rowReduction's with the constant that distinguishes the kernels.
func sumVariants(squares uint32) []DeclVariant[SumParams] {
	variants := rowReduction(func(p SumParams) uint32 { return sumChunkSize },
		DeclPass[SumParams]{Entry: "chunks", Grid: func(p SumParams) [3]uint32 { return gridGroups(chunksOf(p.N.Max, sumChunkSize)) }},
		DeclPass[SumParams]{Grid: func(SumParams) [3]uint32 { return [3]uint32{1, 1, 1} }},
	)
	for i := range variants {
		variants[i].Source, variants[i].Consts = "sum", map[string]uint32{"SQUARES": squares}
	}
	return variants
}

func sumCases() []Case {
	return writingAndAdding(func(accumulate uint32) []Case {
		call := func(n Count, mean, scale float64) Case {
			// Compensated sums of at most 16384 terms, then a tree: some roundings of
			// the total of the terms' sizes.
			size := (math.Abs(mean) + scale) * float64(n.Max)
			return Case{
				Params: SumParams{n, accumulate}, Inputs: []Input{{N: int(n.Max), Mean: mean, Scale: scale}, output(1, accumulate)},
				Atol: 1e-7 * size, Rtol: 1e-6,
			}.named("n=%d mean=%g", n.Max, mean)
		}
		return append(overCounts(40000, func(n Count) Case { return call(n, 1, 1) }),
			call(N(1), 0, 1), call(N(7), 0, 1), call(N(16384), 100, 1), call(N(16385), 0, 1), call(N(3000001), 1, 0.1),
			call(N(65536), 0.1, 0)) // every sum is rounded the same way: naive ones drift
	})
}
