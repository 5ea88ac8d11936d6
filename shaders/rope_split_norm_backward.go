package shaders

import "math"

// RoPESplitNormBackwardParams are the parameters of RoPESplitNormBackward.
type RoPESplitNormBackwardParams struct {
	Tokens      Count
	Heads       uint32
	KVHeads     uint32
	HeadDim     uint32
	AccumulateX uint32 // add to dx
	AccumulateW uint32 // add to dwq and dwk
	WithW       uint32 // they are wanted: a frozen layer needs none
}

// RoPESplitNormBackward computes the gradients of RoPESplitNorm without Values from those
// of its queries and keys. With g a head's gradient rotated back, it is RMSNormBackward
// of every head: dx, and dwq and dwk as sums over all tokens and heads.
var RoPESplitNormBackward = Declare(Decl[RoPESplitNormBackwardParams]{
	Name: "rope_split_norm_backward",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "wq", Access: Read},
		{Name: "wk", Access: Read},
		{Name: "rstd", Access: Read},
		{Name: "table", Access: Read},
		{Name: "positions", Type: I32, Access: Read},
		{Name: "dq", Access: Read},
		{Name: "dk", Access: Read},
		{Name: "dx", Access: ReadWrite},
		{Name: "dwq", Access: ReadWrite, Optional: true},
		{Name: "dwk", Access: ReadWrite, Optional: true},
	},
	Include: []string{"sum", "group", "position", "rope", "rope_gradient"},
	Variants: headReduction(
		DeclPass[RoPESplitNormBackwardParams]{Grid: func(p RoPESplitNormBackwardParams) [3]uint32 {
			return gridGroups(int(p.Tokens.Max * p.heads()))
		}},
		DeclPass[RoPESplitNormBackwardParams]{Entry: "chunks", Rows: func(p RoPESplitNormBackwardParams) (rows, cols int) {
			return 2 * p.chunks(), int(p.HeadDim / 2)
		}},
		DeclPass[RoPESplitNormBackwardParams]{Entry: "total", Elements: func(p RoPESplitNormBackwardParams) int { return 2 * int(p.HeadDim) }},
	),
	Halves: [][]string{{"x", "dq", "dk", "dx"}},
	Even:   func(p RoPESplitNormBackwardParams) bool { return p.HeadDim%4 == 0 },
	Scratch: func(p RoPESplitNormBackwardParams) int64 {
		return 4 * int64(p.WithW) * 2 * int64(p.chunks()) * int64(p.HeadDim)
	},
	Axes: alongCount(func(p *RoPESplitNormBackwardParams) *Count { return &p.Tokens }, func(p RoPESplitNormBackwardParams) map[string]int64 {
		row := rowBytes(p.heads() * p.HeadDim)
		return map[string]int64{
			"x": row, "dx": row, "rstd": rowBytes(p.heads()), "positions": 4,
			"dq": rowBytes(p.Heads * p.HeadDim), "dk": rowBytes(p.KVHeads * p.HeadDim),
		}
	}, func(p *RoPESplitNormBackwardParams, first uint32) { accumulateAfterFirst(&p.AccumulateW, first) }),
	CPU: func(h Host, p RoPESplitNormBackwardParams, b Buffers) {
		tokens, d := p.Tokens.At(h.Step()), int(p.HeadDim)
		if p.WithW != 0 {
			sumRows(h, tokens, p.AccumulateW != 0, func(lo, hi int, acc []float32) { p.heads32(h, b, lo, hi, acc) }, b.F32(9)[:d], b.F32(10)[:d])
			return
		}
		h.Parallel(tokens, rowGrain(int(p.heads())*d), func(lo, hi int) { p.heads32(h, b, lo, hi, make([]float32, 2*d)) })
	},
	Reference: func(p RoPESplitNormBackwardParams, b []Array) {
		d, heads := int(p.HeadDim), int(p.heads())
		for i := 9; i < 11 && p.WithW != 0 && p.AccumulateW == 0; i++ {
			clear(b[i].F)
		}
		g := make([]float64, d)
		splitHeads(p.Tokens, p.Heads, p.KVHeads, p.HeadDim, func(t, head, i, at int, part splitPart) {
			if part == partValue || i != 0 {
				return
			}
			dy, w, row := b[6+part].F[at:], b[1+part].F, (t*heads+head)*d
			x, rstd := b[0].F[row:], b[3].F[t*heads+head]
			var mean float64
			for c := range g {
				g[c] = rotated(dy, b[4].F, b[5].I[t], c, d, part, -1)
				mean += g[c] * w[c] * x[c] * rstd / float64(d)
			}
			for c := range g {
				if p.WithW != 0 {
					b[9+part].F[c] += g[c] * x[c] * rstd
				}
				set(b[8].F, row+c, rstd*(g[c]*w[c]-x[c]*rstd*mean), p.AccumulateX)
			}
		})
	},
	Cost: func(p RoPESplitNormBackwardParams) Cost {
		n := float64(p.Tokens.Max) * float64(p.heads()*p.HeadDim)
		return Cost{Flops: n * float64(12+6*p.WithW), Bytes: n * float64(12+8*p.WithW)}
	},
	Inputs: func(p RoPESplitNormBackwardParams, n []int) map[string]Input {
		return map[string]Input{"positions": integers(n[5], 0, n[4]/int(p.HeadDim)), "rstd": positives(n[3])}
	},
	Cases: func() []Case {
		call := func(tokens Count, heads, kv, d int, p RoPESplitNormBackwardParams) Case {
			const positions = 50
			n := int(tokens.Max)
			p.Tokens, p.Heads, p.KVHeads, p.HeadDim = tokens, uint32(heads), uint32(kv), uint32(d)
			c := Case{
				Params: p,
				Inputs: []Input{
					{N: n * (heads + kv) * d, Scale: 1}, {N: d, Scale: 1}, {N: d, Scale: 1}, positives(n * (heads + kv)),
					{N: positions * d, Scale: 1}, integers(n, 0, positions), {N: n * heads * d, Scale: 1}, {N: n * kv * d, Scale: 1},
					output(n*(heads+kv)*d, p.AccumulateX), output(d, p.AccumulateW), output(d, p.AccumulateW),
				},
				// As RMSNormBackward, of gradients that are sums of two.
				Atol: 4e-6 + 2e-6*math.Sqrt(float64(n*max(heads, kv))), Rtol: 1e-5,
			}
			c.Inputs[9].Absent, c.Inputs[10].Absent = p.WithW == 0, p.WithW == 0
			return c.named("%dx(%d+%d)x%d", tokens.Max, heads, kv, d)
		}
		cases := writingAndAdding(func(accumulate uint32) []Case {
			p := RoPESplitNormBackwardParams{AccumulateX: accumulate, AccumulateW: accumulate, WithW: 1}
			return append(overCounts(40, func(tokens Count) Case { return call(tokens, 3, 2, 16, p) }),
				call(N(1), 1, 1, 2, p), call(N(7), 3, 1, 6, p), call(N(33), 16, 8, 128, p), call(N(3), 2, 1, 300, p), call(N(300), 3, 2, 16, p), call(N(4400), 14, 1, 8, p))
		})
		return append(cases,
			call(N(20), 3, 2, 16, RoPESplitNormBackwardParams{AccumulateX: 1, WithW: 1}).named("adding to dx"),
			call(N(20), 3, 2, 16, RoPESplitNormBackwardParams{AccumulateW: 1, WithW: 1}).named("adding to dwq and dwk"),
			call(N(20), 3, 2, 16, RoPESplitNormBackwardParams{}).named("dx alone"))
	},
})

func (p RoPESplitNormBackwardParams) heads() uint32 { return p.Heads + p.KVHeads }

// chunks is the number of partial sums of the weights' gradients, of 16 tokens each.
func (p RoPESplitNormBackwardParams) chunks() int { return chunksOf(p.Tokens.Max, 16) }

// heads32 computes tokens [lo,hi) on the CPU and adds to acc, the gradients of both
// weights.
func (p RoPESplitNormBackwardParams) heads32(h Host, b Buffers, lo, hi int, acc []float32) {
	x, rstd, table, positions, dx := b.F32(0), b.F32(3), b.F32(4), b.I32(5), b.F32(8)
	d, queries, keys, heads := int(p.HeadDim), int(p.Heads), int(p.KVHeads), int(p.heads())
	g, release := h.Scratch(d)
	defer release()
	for t := lo; t < hi; t++ {
		angles := table[int(positions[t])*d:][:d]
		for head := range heads {
			part, dy := partQuery, b.F32(6)[min((t*queries+head)*d, len(b.F32(6))):]
			if head >= queries {
				part, dy = partKey, b.F32(7)[(t*keys+head-queries)*d:]
			}
			rotate(dy[:d], angles, g, true, false)
			row := t*heads + head
			rmsNormRowBackward(x[row*d:][:d], b.F32(1 + int(part))[:d], g, dx[row*d:][:d], acc[int(part)*d:][:d], rstd[row], p.AccumulateX != 0)
		}
	}
}
