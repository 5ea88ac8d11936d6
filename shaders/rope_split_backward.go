package shaders

// RoPESplitBackward concatenates the gradients of RoPESplit's outputs, dq, dk and dv,
// those of queries and keys rotated back: dx [Tokens,(Heads+2·KVHeads)·HeadDim].
var RoPESplitBackward = Declare(Decl[RoPESplitParams]{
	Name: "rope_split_backward",
	Bindings: []Binding{
		{Name: "dq", Access: Read},
		{Name: "dk", Access: Read},
		{Name: "dv", Access: Read},
		{Name: "table", Access: Read},
		{Name: "positions", Type: I32, Access: Read},
		{Name: "dx", Access: ReadWrite},
	},
	Include:  []string{"rope", "rope_split", "rope_gradient"},
	Variants: elementwise(func(p RoPESplitParams) uint32 { return p.Tokens.Max * p.width() / 2 }),
	Halves:   [][]string{{"dq", "dk", "dv", "dx"}},
	Even:     func(p RoPESplitParams) bool { return p.HeadDim%4 == 0 },
	Axes: alongCount(func(p *RoPESplitParams) *Count { return &p.Tokens }, func(p RoPESplitParams) map[string]int64 {
		return splitSpans(p.Heads, p.KVHeads, p.HeadDim, "dx", "dq", "dk", "dv")
	}, nil),
	CPU: func(h Host, p RoPESplitParams, b Buffers) {
		dq, dk, dv, table, positions, dx := b.F32(0), b.F32(1), b.F32(2), b.F32(3), b.I32(4), b.F32(5)
		d, queries, keys := int(p.HeadDim), int(p.Heads*p.HeadDim), int(p.KVHeads*p.HeadDim)
		add := p.Accumulate != 0
		h.Parallel(p.Tokens.At(h.Step()), rowGrain(int(p.width())), func(lo, hi int) {
			for t := lo; t < hi; t++ {
				row := dx[t*(queries+2*keys):]
				angles := table[int(positions[t])*d:][:d]
				rotateHeads(dq[t*queries:][:queries], angles, row, true, add)
				rotateHeads(dk[t*keys:][:keys], angles, row[queries:], true, add)
				if values := row[queries+keys:][:keys]; add {
					addTo(values, dv[t*keys:][:keys])
				} else {
					copy(values, dv[t*keys:])
				}
			}
		})
	},
	Reference: func(p RoPESplitParams, b []Array) {
		table, positions, dx := b[3].F, b[4].I, b[5].F
		splitHeads(p.Tokens, p.Heads, p.KVHeads, p.HeadDim, func(t, head, i, at int, part splitPart) {
			to := t*int(p.width()) + head*int(p.HeadDim) + i
			set(dx, to, rotated(b[part].F[at-i:], table, positions[t], i, int(p.HeadDim), part, -1), p.Accumulate)
		})
	},
	Cost: ropeSplitCost,
	Inputs: func(p RoPESplitParams, n []int) map[string]Input {
		return map[string]Input{"positions": integers(n[4], 0, n[3]/int(p.HeadDim))}
	},
	Cases: func() []Case {
		return writingAndAdding(func(accumulate uint32) []Case {
			call := func(tokens Count, heads, kv, d int) Case {
				const positions = 50
				n := int(tokens.Max)
				return Case{
					Params: RoPESplitParams{Tokens: tokens, Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(d), Accumulate: accumulate},
					Inputs: []Input{
						{N: n * heads * d, Scale: 1}, {N: n * kv * d, Scale: 1}, {N: n * kv * d, Scale: 1},
						{N: positions * d, Scale: 1}, integers(n, 0, positions), output(n*(heads+2*kv)*d, accumulate),
					},
					Atol: 1e-6, Rtol: 1e-6, // as RoPESplit
				}.named("%dx(%d+2*%d)x%d", tokens.Max, heads, kv, d)
			}
			return append(overCounts(9, func(tokens Count) Case { return call(tokens, 3, 2, 16) }),
				call(N(1), 1, 1, 2), call(N(7), 3, 1, 6), call(N(33), 9, 3, 64), call(N(5), 4, 2, 128), call(N(300), 3, 2, 16), call(N(65537), 14, 1, 8))
		})
	},
})
