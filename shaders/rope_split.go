package shaders

// RoPESplitParams are the parameters of RoPESplit and RoPESplitBackward.
type RoPESplitParams struct {
	Tokens     Count
	Heads      uint32 // of queries
	KVHeads    uint32 // of keys, and as many of values
	HeadDim    uint32
	Slot       uint32 `kernel:"layout"` // forward: entry of the step block with the first row of k and v; see RoPESplit
	Accumulate uint32 // backward: 1 adds to dx
	Ring       uint32 `kernel:"layout"` // forward: as AppendRowsParams'
}

// RoPESplit splits the fused projections x [Tokens,(Heads+2·KVHeads)·HeadDim] of every
// token and rotates queries and keys as RoPE does: q [Tokens,Heads,HeadDim], k and v
// [Tokens,KVHeads,HeadDim]. With a Slot, k and v are a cache that is written from the row
// in the step block's entry on, and with a Ring from its start after its last row.
var RoPESplit = Declare(Decl[RoPESplitParams]{
	Name: "rope_split",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "table", Access: Read},
		{Name: "positions", Type: I32, Access: Read},
		{Name: "q", Access: Write},
		{Name: "k", Access: ReadWrite},
		{Name: "v", Access: ReadWrite},
	},
	Include:  []string{"rope", "rope_split", "ring"},
	Variants: elementwise(func(p RoPESplitParams) uint32 { return p.Tokens.Max * p.width() / 2 }),
	Halves:   [][]string{{"x", "q", "k", "v"}},
	Even:     func(p RoPESplitParams) bool { return p.HeadDim%4 == 0 },
	Axes: func(p RoPESplitParams) []Axis {
		if p.Slot != 0 { // the step block holds the first row of the cache
			return nil
		}
		return alongCount(func(p *RoPESplitParams) *Count { return &p.Tokens }, func(p RoPESplitParams) map[string]int64 {
			return splitSpans(p.Heads, p.KVHeads, p.HeadDim, "x", "q", "k", "v")
		}, nil)(p)
	},
	CPU: ropeSplitCPU,
	CPUNarrow: func(h Host, p RoPESplitParams, b Buffers, s Storage) bool {
		if p.Slot == 0 {
			return false
		}
		tokens, keys := p.Tokens.At(h.Step()), int(p.KVHeads*p.HeadDim)
		row, ok := contiguousRows(h, tokens, p.Slot, p.Ring)
		if !ok {
			return false
		}
		first, rows := row*keys, p
		rows.Slot, rows.Ring = 0, 0
		onSections(h, s.Type.Format(), b, section{0, 0, tokens * int(p.width())},
			[]section{{3, 0, tokens * int(p.Heads*p.HeadDim)}, {4, first, tokens * keys}, {5, first, tokens * keys}},
			func(b Buffers) { ropeSplitCPU(h, rows, b) })
		return true
	},
	Reference: func(p RoPESplitParams, b []Array) {
		x, table, positions := b[0].F, b[1].F, b[2].I
		first := int(b[6].I[p.Slot])
		splitHeads(p.Tokens, p.Heads, p.KVHeads, p.HeadDim, func(t, head, i, at int, part splitPart) {
			out := b[3+part].F
			if part != partQuery {
				at += (ringRow(first+t, p.Ring) - t) * int(p.KVHeads*p.HeadDim)
			}
			from := t*int(p.width()) + head*int(p.HeadDim)
			out[at] = rotated(x[from:], table, positions[t], i, int(p.HeadDim), part, 1)
		})
	},
	Cost: ropeSplitCost,
	Inputs: func(p RoPESplitParams, n []int) map[string]Input {
		return map[string]Input{"positions": integers(n[2], 0, n[1]/int(p.HeadDim))}
	},
	Cases: func() []Case {
		call := func(tokens Count, heads, kv, d int, slot, first uint32) Case {
			const positions = 50
			n := int(tokens.Max)
			cache := (n + int(first)) * kv * d
			c := Case{
				Params: RoPESplitParams{Tokens: tokens, Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(d), Slot: slot},
				Inputs: []Input{
					{N: n * (heads + 2*kv) * d, Scale: 1}, {N: positions * d, Scale: 1}, integers(n, 0, positions),
					{N: n * heads * d}, {N: cache, Scale: 1}, {N: cache, Scale: 1},
				},
				Atol: 1e-6, Rtol: 1e-6, // three roundings of values of size 1
			}
			if slot != 0 {
				c.Step = withWord(nil, int(slot), first)
			}
			return c.named("%dx(%d+2*%d)x%d at %d", tokens.Max, heads, kv, d, first)
		}
		counted := overCounts(9, func(tokens Count) Case { return call(tokens, 3, 2, 16, 5, 3) })
		for i := range counted {
			counted[i].Step = withWord(counted[i].Step, 5, 3)
		}
		ring := func(tokens, heads, kv, d int, first, ring uint32) Case {
			c := call(N(tokens), heads, kv, d, 5, first)
			p := c.Params.(RoPESplitParams)
			p.Ring = ring
			c.Params = p
			c.Inputs[4].N, c.Inputs[5].N = int(ring)*kv*d, int(ring)*kv*d
			return c.named("%s in a ring of %d", c.Name, ring)
		}
		return append(counted, ring(7, 3, 2, 16, 6, 9), ring(5, 2, 1, 6, 21, 8), ring(3, 2, 1, 8, 2, 8), call(N(1), 1, 1, 2, 0, 0), call(N(7), 3, 1, 6, 0, 0), call(N(33), 9, 3, 64, 0, 0), call(N(1), 9, 3, 64, 5, 7),
			call(N(5), 4, 2, 128, 5, 1), call(N(300), 3, 2, 16, 0, 0), call(N(65537), 14, 1, 8, 0, 0))
	},
})

func ropeSplitCPU(h Host, p RoPESplitParams, b Buffers) {
	x, table, positions, q, k, v := b.F32(0), b.F32(1), b.I32(2), b.F32(3), b.F32(4), b.F32(5)
	d, queries, keys := int(p.HeadDim), int(p.Heads*p.HeadDim), int(p.KVHeads*p.HeadDim)
	first := int(h.Step()[p.Slot])
	h.Parallel(p.Tokens.At(h.Step()), rowGrain(int(p.width())), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			row, to := x[t*(queries+2*keys):], ringRow(first+t, p.Ring)*keys
			angles := table[int(positions[t])*d:][:d]
			rotateHeads(row[:queries], angles, q[t*queries:], false, false)
			rotateHeads(row[queries:][:keys], angles, k[to:], false, false)
			copy(v[to:], row[queries+keys:][:keys])
		}
	})
}

func (p RoPESplitParams) width() uint32 { return (p.Heads + 2*p.KVHeads) * p.HeadDim }

// splitPart is the kind of a head of the fused projections.
type splitPart int

const (
	partQuery splitPart = iota
	partKey
	partValue
)

// splitHeads calls f for element i of every head of every token, in a reference; at is
// its offset in the tensor of its part.
func splitHeads(tokens Count, heads, kv, headDim uint32, f func(t, head, i, at int, part splitPart)) {
	q, k, d := int(heads), int(kv), int(headDim)
	for t := range int(tokens.Max) {
		for head := range q + 2*k {
			for i := range d {
				switch {
				case head < q:
					f(t, head, i, (t*q+head)*d+i, partQuery)
				case head < q+k:
					f(t, head, i, (t*k+head-q)*d+i, partKey)
				default:
					f(t, head, i, (t*k+head-q-k)*d+i, partValue)
				}
			}
		}
	}
}

// rotated is element i of a head x after RoPE; sign -1 is the inverse rotation.
func rotated(x, table []float64, position int64, i, d int, part splitPart, sign float64) float64 {
	angles, pair := table[int(position)*d:], i%(d/2)
	cos, sin := angles[pair], sign*angles[d/2+pair]
	switch {
	case part == partValue:
		return x[i]
	case i < d/2:
		return x[i]*cos - x[i+d/2]*sin
	}
	return x[i]*cos + x[i-d/2]*sin
}

// splitSpans are a token's bytes in the fused tensor, in queries, keys and values.
func splitSpans(heads, kv, d uint32, stacked, q, k, v string) map[string]int64 {
	return map[string]int64{
		stacked: rowBytes((heads + 2*kv) * d), "positions": 4,
		q: rowBytes(heads * d), k: rowBytes(kv * d), v: rowBytes(kv * d),
	}
}

func ropeSplitCost(p RoPESplitParams) Cost {
	row := float64(p.Tokens.Max) * float64(p.HeadDim)
	return Cost{Flops: 3 * row * float64(p.Heads+p.KVHeads), Bytes: 8 * row * float64(p.Heads+2*p.KVHeads)}
}

// rotateHeads rotates all heads of x by the same angles.
func rotateHeads(x, angles, y []float32, inverse, accumulate bool) {
	for d := len(angles); len(x) > 0; x, y = x[d:], y[d:] {
		rotate(x[:d], angles, y[:d], inverse, accumulate)
	}
}
