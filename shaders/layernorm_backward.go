package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// LayerNormBackwardParams are the parameters of LayerNormBackward.
type LayerNormBackwardParams struct {
	Rows        Count
	Cols        uint32
	AccumulateX uint32 // add to dx
	AccumulateW uint32 // add to dw and db
	WithX       uint32 // dx is wanted: pixels need none
	WithW       uint32 // dw and db are wanted: a frozen layer needs none
}

// LayerNormBackward computes the gradients of LayerNorm from dy [Rows,Cols]:
//
//	dx = rstd·(g - mean(g) - x̂·mean(g·x̂)),  g = dy·w,  x̂ = (x - mean)·rstd
//	dw = Σ dy·x̂,  db = Σ dy
var LayerNormBackward = Declare(Decl[LayerNormBackwardParams]{
	Name: "layernorm_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "w", Access: Read},
		{Name: "mean", Access: Read},
		{Name: "rstd", Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dx", Access: ReadWrite, Optional: true},
		{Name: "dw", Access: ReadWrite, Optional: true},
		{Name: "db", Access: ReadWrite, Optional: true},
	},
	Include: []string{"sum", "group", "position"},
	Variants: rowReduction(func(p LayerNormBackwardParams) uint32 { return p.Cols },
		DeclPass[LayerNormBackwardParams]{Grid: func(p LayerNormBackwardParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }},
		DeclPass[LayerNormBackwardParams]{Entry: "chunks", Rows: func(p LayerNormBackwardParams) (rows, cols int) {
			return chunksOf(p.Rows.Max, sumChunk), int(p.Cols)
		}},
		DeclPass[LayerNormBackwardParams]{Entry: "total", Elements: func(p LayerNormBackwardParams) int { return int(p.Cols) }},
	),
	Halves: [][]string{{"dy"}, {"x", "dy", "dx"}},
	Even:   func(p LayerNormBackwardParams) bool { return p.Cols%2 == 0 },
	Scratch: func(p LayerNormBackwardParams) int64 {
		return 8 * int64(p.WithW) * int64(chunksOf(p.Rows.Max, sumChunk)) * int64(p.Cols)
	},
	Axes: alongCount(func(p *LayerNormBackwardParams) *Count { return &p.Rows }, func(p LayerNormBackwardParams) map[string]int64 {
		return map[string]int64{"x": rowBytes(p.Cols), "dy": rowBytes(p.Cols), "dx": rowBytes(p.Cols), "mean": 4, "rstd": 4}
	}, func(p *LayerNormBackwardParams, first uint32) { accumulateAfterFirst(&p.AccumulateW, first) }),
	CPU: func(h Host, p LayerNormBackwardParams, bufs Buffers) {
		x, w, mean, rstd, dy := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4)
		dx, dw, db := bufs.F32(5), bufs.F32(6), bufs.F32(7)
		cols := int(p.Cols)
		if p.WithW == 0 {
			h.Parallel(p.Rows.At(h.Step()), rowGrain(cols), func(lo, hi int) {
				for r := lo; r < hi; r++ {
					simd.LayerNormGradient(dx[r*cols:][:cols], dy[r*cols:], w, x[r*cols:], mean[r], rstd[r], p.AccumulateX != 0)
				}
			})
			return
		}
		sumRows(h, p.Rows.At(h.Step()), p.AccumulateW != 0, func(lo, hi int, acc []float32) {
			accW, accB := acc[:cols], acc[cols:]
			for r := lo; r < hi; r++ {
				x, dy := x[r*cols:][:cols], dy[r*cols:][:cols]
				simd.LayerNormSums(accW, accB, dy, x, mean[r], rstd[r])
				if p.WithX != 0 {
					simd.LayerNormGradient(dx[r*cols:][:cols], dy, w, x, mean[r], rstd[r], p.AccumulateX != 0)
				}
			}
		}, dw[:cols], db[:cols])
	},
	Reference: func(p LayerNormBackwardParams, b []Array) {
		x, w, mean, rstd, dy, dx, dw, db := b[0].F, b[1].F, b[2].F, b[3].F, b[4].F, b[5].F, b[6].F, b[7].F
		cols := int(p.Cols)
		if p.WithW != 0 && p.AccumulateW == 0 {
			clear(dw)
			clear(db)
		}
		for r := range int(p.Rows.Max) {
			var meanG, meanGX float64
			for c := range cols {
				i := r*cols + c
				hat := (x[i] - mean[r]) * rstd[r]
				meanG += dy[i] * w[c] / float64(cols)
				meanGX += dy[i] * w[c] * hat / float64(cols)
				if p.WithW != 0 {
					dw[c] += dy[i] * hat
					db[c] += dy[i]
				}
			}
			for c := range cols {
				if i := r*cols + c; p.WithX != 0 {
					set(dx, i, rstd[r]*(dy[i]*w[c]-meanG-(x[i]-mean[r])*rstd[r]*meanGX), p.AccumulateX)
				}
			}
		}
	},
	Cost: func(p LayerNormBackwardParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: n * float64(12*p.WithX+5*p.WithW), Bytes: n * float64(12*p.WithX+8*p.WithW)}
	},
	Cases: func() []Case {
		call := func(rows Count, cols int, p LayerNormBackwardParams) Case {
			n, m := int(rows.Max)*cols, int(rows.Max)
			p.Rows, p.Cols = rows, uint32(cols)
			c := Case{
				Params: p,
				Inputs: []Input{{N: n, Scale: 1}, {N: cols, Scale: 1}, {N: m, Scale: 0.1}, positives(m), {N: n, Scale: 1},
					output(n, p.AccumulateX), output(cols, p.AccumulateW), output(cols, p.AccumulateW)},
				// A few roundings of values of size 1 to 10 and, in dw, a random walk of them.
				Atol: 2e-6 + 1e-6*math.Sqrt(float64(m)), Rtol: 1e-5,
			}
			c.Inputs[5].Absent = p.WithX == 0
			c.Inputs[6].Absent, c.Inputs[7].Absent = p.WithW == 0, p.WithW == 0
			return c
		}
		cases := writingAndAdding(func(accumulate uint32) []Case {
			return overRows(func(rows Count, cols int) Case {
				return call(rows, cols, LayerNormBackwardParams{AccumulateX: accumulate, AccumulateW: accumulate, WithX: 1, WithW: 1})
			})
		})
		return append(cases,
			call(N(70), 65, LayerNormBackwardParams{AccumulateX: 1, WithX: 1, WithW: 1}).named("adding to dx"),
			call(N(70), 65, LayerNormBackwardParams{AccumulateW: 1, WithX: 1, WithW: 1}).named("adding to dw"),
			call(N(70), 65, LayerNormBackwardParams{WithX: 1}).named("dx alone"),
			call(N(70), 65, LayerNormBackwardParams{WithW: 1}).named("dw alone"),
			call(N(1), beyondGroups, LayerNormBackwardParams{WithW: 1}).named("dw of many columns"))
	},
})
