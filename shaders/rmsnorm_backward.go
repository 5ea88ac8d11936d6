package shaders

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// RMSNormBackwardParams are the parameters of RMSNormBackward.
type RMSNormBackwardParams struct {
	Rows        Count
	Cols        uint32
	AccumulateX uint32 // add to dx
	AccumulateW uint32 // add to dw
	WithW       uint32 // dw is wanted: a frozen layer needs none
	Narrow      uint32 // 1: dx is written to narrow too
	Weightless  uint32 // w is absent, and all ones; then WithW is 0
}

// RMSNormBackward computes the gradients of RMSNorm from dy [Rows,Cols]:
//
//	dx = rstd·(g - x̂·mean(g·x̂)),  g = dy·w,  x̂ = x·rstd
//	dw = Σ dy·x̂
//
// narrow is a 16-bit copy of dx, which matmuls read.
var RMSNormBackward = Declare(Decl[RMSNormBackwardParams]{
	Name: "rmsnorm_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read, Optional: true},
		{Name: "rstd", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite},
		{Name: "dw", Access: ReadWrite, Optional: true},
		{Name: "narrow", Access: Write, Optional: true},
	},
	Include: []string{"sum", "group", "position"},
	Variants: rowReduction(func(p RMSNormBackwardParams) uint32 { return p.Cols },
		DeclPass[RMSNormBackwardParams]{Grid: func(p RMSNormBackwardParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }},
		DeclPass[RMSNormBackwardParams]{Entry: "chunks", Rows: func(p RMSNormBackwardParams) (rows, cols int) {
			return chunksOf(p.Rows.Max, sumChunk), int(p.Cols)
		}},
		DeclPass[RMSNormBackwardParams]{Entry: "total", Elements: func(p RMSNormBackwardParams) int { return int(p.Cols) }},
	),
	Halves: [][]string{{"dy"}, {"dy", "narrow"}, {"x", "dy", "dx"}, {"x", "dx"}},
	Even:   func(p RMSNormBackwardParams) bool { return p.Cols%2 == 0 },
	Scratch: func(p RMSNormBackwardParams) int64 {
		return 4 * int64(p.WithW) * int64(chunksOf(p.Rows.Max, sumChunk)) * int64(p.Cols)
	},
	Axes: alongCount(func(p *RMSNormBackwardParams) *Count { return &p.Rows }, func(p RMSNormBackwardParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "dy": rowBytes(p.Cols), "dx": rowBytes(p.Cols), "narrow": rowBytes(p.Cols), "rstd": 4}
	}, func(p *RMSNormBackwardParams, first uint32) { accumulateAfterFirst(&p.AccumulateW, first) }),
	CPU: func(h Host, p RMSNormBackwardParams, b Buffers) {
		cols := int(p.Cols)
		if p.WithW == 0 {
			h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) { p.rows(b, lo, hi, make([]float32, cols)) })
			return
		}
		sumRows(h, p.Rows.At(h.Step()), p.AccumulateW != 0, func(lo, hi int, acc []float32) { p.rows(b, lo, hi, acc) }, b.F32(5)[:cols])
	},
	Reference: func(p RMSNormBackwardParams, b []Array) {
		x, w, rstd, dy, dx, dw, cols := b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, int(p.Cols)
		if p.WithW != 0 && p.AccumulateW == 0 {
			clear(dw)
		}
		weight := func(c int) float64 {
			if p.Weightless != 0 {
				return 1
			}
			return w[c]
		}
		for r := range int(p.Rows.Max) {
			var meanGX float64
			for c := range cols {
				i := r*cols + c
				meanGX += dy[i] * weight(c) * x[i] * rstd[r] / float64(cols)
				if p.WithW != 0 {
					dw[c] += dy[i] * x[i] * rstd[r]
				}
			}
			for c := range cols {
				i := r*cols + c
				set(dx, i, rstd[r]*(dy[i]*weight(c)-x[i]*rstd[r]*meanGX), p.AccumulateX)
				if p.Narrow != 0 {
					b[6].F[i] = dx[i]
				}
			}
		}
	},
	Cost: func(p RMSNormBackwardParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n * float64(9+3*p.WithW), Bytes: n * float64(12+8*p.WithW)}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, p RMSNormBackwardParams) Case {
			n, m := int(rows.Max)*cols, int(rows.Max)
			p.Rows, p.Cols = rows, uint32(cols)
			c := Case{
				Params: p,
				Inputs: []Input{{N: n, Scale: 1}, {N: cols, Scale: 1}, positives(m), {N: n, Scale: 1}, output(n, p.AccumulateX), output(cols, p.AccumulateW), {N: n, Absent: p.Narrow == 0}},
				// A few roundings of values of size 1 to 10 and, in dw, a random walk of them.
				Atol: 2e-6 + 1e-6*math.Sqrt(float64(m)), Rtol: 1e-5,
			}
			c.Inputs[5].Absent = p.WithW == 0
			c.Inputs[1].Absent = p.Weightless != 0
			return c
		}
		cases := writingAndAdding(func(accumulate uint32) []Case {
			return overRows(func(rows Count, cols int) Case {
				return call(rows, cols, RMSNormBackwardParams{AccumulateX: accumulate, AccumulateW: accumulate, WithW: 1})
			})
		})
		return append(cases,
			call(N(70), 65, RMSNormBackwardParams{AccumulateX: 1, WithW: 1}).named("adding to dx"),
			call(N(70), 65, RMSNormBackwardParams{AccumulateW: 1, WithW: 1}).named("adding to dw"),
			call(N(70), 65, RMSNormBackwardParams{}).named("dx alone"),
			call(N(70), 65, RMSNormBackwardParams{AccumulateX: 1, WithW: 1, Narrow: 1}).named("adding to dx, copied"),
			call(N(9), 130, RMSNormBackwardParams{AccumulateX: 1, WithW: 1, Narrow: 1}).named("adding to even rows of dx, copied"),
			call(N(9), 130, RMSNormBackwardParams{Narrow: 1}).named("dx alone, copied"),
			call(N(70), 65, RMSNormBackwardParams{Weightless: 1}).named("weightless"),
			call(N(9), 130, RMSNormBackwardParams{Weightless: 1, AccumulateX: 1}).named("weightless, adding to dx"))
	},
})

// rows computes rows [lo,hi) on the CPU and adds to acc, the gradient of w.
func (p RMSNormBackwardParams) rows(b Buffers, lo, hi int, acc []float32) {
	x, w, rstd, dy, dx, cols := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.F32(4), int(p.Cols)
	if p.Weightless != 0 {
		w = slices.Repeat([]float32{1}, cols)
	}
	for r := lo; r < hi; r++ {
		at := r * cols
		rmsNormRowBackward(x[at:][:cols], w[:cols], dy[at:][:cols], dx[at:][:cols], acc, rstd[r], p.AccumulateX != 0)
		if p.Narrow != 0 {
			copy(b.F32(6)[at:], dx[at:][:cols])
		}
	}
}

func rmsNormRowBackward(x, w, dy, dx, dw []float32, rstd float32, accumulate bool) {
	n := len(dy)
	sum := simd.RMSNormSums(dw[:n], dy, x, w, rstd)
	simd.RMSNormGradient(dx[:n], dy, w, x, rstd, float32(sum/float64(n))*rstd, accumulate)
}
