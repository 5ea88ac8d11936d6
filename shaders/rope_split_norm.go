package shaders

import (
	"math"

	"patchwork/shaders/simd"
)

// RoPESplitNormParams are the parameters of RoPESplitNorm.
type RoPESplitNormParams struct {
	Tokens  Count
	Heads   uint32
	KVHeads uint32
	HeadDim uint32
	Values  uint32 // 1: x holds values too; 2: and they are divided by their root mean square
	Slot    uint32 `kernel:"layout"` // as RoPESplitParams'
	Ring    uint32 `kernel:"layout"` // as AppendRowsParams'
	Eps     float32
}

// RoPESplitNorm is RoPESplit with Qwen3's QK-norm before the rotation: every head of
// queries is divided by its root mean square and scaled by wq [HeadDim], those of keys by
// wk. rstd [Tokens,Heads+KVHeads] keeps 1/rms. With Values 2 those are normalised as well, without a
// weight: Gemma 4's. Without Values x is [Tokens,(Heads+KVHeads)·HeadDim], and v is absent.
var RoPESplitNorm = Declare(Decl[RoPESplitNormParams]{
	Name: "rope_split_norm",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "wq", Access: Read},
		{Name: "wk", Access: Read},
		{Name: "table", Access: Read},
		{Name: "positions", Type: I32, Access: Read},
		{Name: "q", Access: Write},
		{Name: "k", Access: ReadWrite},
		{Name: "v", Access: ReadWrite, Optional: true},
		{Name: "rstd", Access: Write},
	},
	Include: []string{"sum", "group", "rope", "ring"},
	Variants: headReduction(DeclPass[RoPESplitNormParams]{Grid: func(p RoPESplitNormParams) [3]uint32 {
		return gridGroups(int(p.Tokens.Max * p.heads()))
	}}),
	Halves: [][]string{{"x", "q", "k", "v"}, {"x", "q", "k"}},
	Even:   func(p RoPESplitNormParams) bool { return p.HeadDim%4 == 0 },
	Axes: func(p RoPESplitNormParams) []Axis {
		if p.Slot != 0 { // the step block holds the first row of the cache
			return nil
		}
		return alongCount(func(p *RoPESplitNormParams) *Count { return &p.Tokens }, func(p RoPESplitNormParams) map[string]int64 {
			spans := splitSpans(p.Heads, p.KVHeads, p.HeadDim, "x", "q", "k", "v")
			spans["x"], spans["rstd"] = rowBytes(p.heads()*p.HeadDim), rowBytes(p.normed())
			return spans
		}, nil)(p)
	},
	CPU: ropeSplitNormCPU,
	CPUNarrow: func(h Host, p RoPESplitNormParams, b Buffers, s Storage) bool {
		if p.Slot == 0 || p.Values == 0 || s.Bindings>>7&1 == 0 { // v apart or in 32 bits
			return false
		}
		tokens, keys := p.Tokens.At(h.Step()), int(p.KVHeads*p.HeadDim)
		row, ok := contiguousRows(h, tokens, p.Slot, p.Ring)
		if !ok {
			return false
		}
		first, rows := row*keys, p
		rows.Slot, rows.Ring = 0, 0
		onSections(h, s.Type.Format(), b, section{0, 0, tokens * int((p.Heads+2*p.KVHeads)*p.HeadDim)},
			[]section{{5, 0, tokens * int(p.Heads*p.HeadDim)}, {6, first, tokens * keys}, {7, first, tokens * keys}},
			func(b Buffers) { ropeSplitNormCPU(h, rows, b) })
		return true
	},
	Reference: func(p RoPESplitNormParams, b []Array) {
		x, table, positions, rstd := b[0].F, b[3].F, b[4].I, b[8].F
		first, d, normed := int(b[9].I[p.Slot]), int(p.HeadDim), int(p.normed())
		heads := int(p.heads())
		row := make([]float64, d)
		splitHeads(p.Tokens, p.Heads, p.KVHeads, p.HeadDim, func(t, head, i, at int, part splitPart) {
			if part == partValue && p.Values == 0 {
				return
			}
			in := x[(t*heads+head)*d:][:d]
			if copy(row, in); part != partValue && i == 0 {
				var square float64
				for _, v := range in {
					square += v * v / float64(d)
				}
				rstd[t*normed+head] = 1 / math.Sqrt(square+float64(p.Eps))
			}
			switch {
			case part != partValue:
				for c := range row {
					row[c] *= rstd[t*normed+head] * b[1+part].F[c]
				}
			case p.Values == 2:
				var square float64
				for _, v := range in {
					square += v * v / float64(d)
				}
				for c := range row {
					row[c] /= math.Sqrt(square + float64(p.Eps))
				}
			}
			if part != partQuery {
				at += (ringRow(first+t, p.Ring) - t) * int(p.KVHeads) * d
			}
			b[5+part].F[at] = rotated(row, table, positions[t], i, d, part, 1)
		})
	},
	Cost: func(p RoPESplitNormParams) Cost {
		row := float64(p.Tokens.Max) * float64(p.HeadDim)
		return Cost{Flops: 7 * row * float64(p.normed()), Bytes: 8 * row * float64(p.heads())}
	},
	Inputs: func(p RoPESplitNormParams, n []int) map[string]Input {
		return map[string]Input{"positions": integers(n[4], 0, n[3]/int(p.HeadDim))}
	},
	Cases: func() []Case {
		call := func(tokens Count, heads, kv, d int, values, slot, first uint32) Case {
			const positions = 50
			n, width := int(tokens.Max), heads+kv+int(min(values, 1))*kv
			cache := (n + int(first)) * kv * d
			c := Case{
				Params: RoPESplitNormParams{Tokens: tokens, Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(d), Values: values, Slot: slot, Eps: 1e-6},
				Inputs: []Input{
					{N: n * width * d, Scale: 3}, {N: d, Scale: 1}, {N: d, Scale: 1}, {N: positions * d, Scale: 1}, integers(n, 0, positions),
					{N: n * heads * d}, {N: cache, Scale: 1}, {N: cache, Scale: 1, Absent: values == 0}, {N: n * (heads + kv)},
				},
				// Those of RMSNorm, then three roundings of the products of four normal values.
				Atol: 5e-6, Rtol: 2e-6,
			}
			if slot != 0 {
				c.Step = withWord(nil, int(slot), first)
			}
			return c.named("%dx(%d+%d)x%d values=%d at %d", tokens.Max, heads, kv, d, values, first)
		}
		counted := overCounts(9, func(tokens Count) Case { return call(tokens, 3, 2, 16, 1, 5, 3) })
		for i := range counted {
			counted[i].Step = withWord(counted[i].Step, 5, 3)
		}
		small := call(N(3), 3, 2, 64, 1, 0, 0) // Eps matters in the denominator
		small.Inputs[0].Scale = 1e-3
		ring := func(tokens, heads, kv, d int, values, first, ring uint32) Case {
			c := call(N(tokens), heads, kv, d, values, 5, first)
			p := c.Params.(RoPESplitNormParams)
			p.Ring = ring
			c.Params = p
			c.Inputs[6].N, c.Inputs[7].N = int(ring)*kv*d, int(ring)*kv*d
			return c.named("%s in a ring of %d", c.Name, ring)
		}
		return append(counted, ring(7, 3, 2, 16, 1, 6, 9), ring(5, 2, 1, 6, 2, 21, 8), ring(3, 2, 1, 8, 1, 2, 8), small.named("small values"), call(N(1), 1, 1, 2, 1, 0, 0), call(N(7), 3, 1, 6, 0, 0, 0), call(N(33), 16, 8, 128, 0, 0, 0), call(N(1), 9, 3, 64, 1, 5, 7),
			call(N(5), 4, 2, 128, 1, 5, 1), call(N(3), 2, 1, 300, 1, 0, 0), call(N(300), 3, 2, 16, 1, 0, 0), call(N(5), 2, 2, 16, 0, 0, 0), call(N(4096), 15, 1, 8, 1, 0, 0),
			call(N(7), 3, 2, 6, 2, 0, 0), call(N(5), 4, 2, 128, 2, 5, 1), call(N(1), 4, 1, 512, 2, 5, 7), call(N(33), 3, 2, 20, 2, 0, 0))
	},
})

// normed is the number of heads that are normalised.
func (p RoPESplitNormParams) normed() uint32 { return p.Heads + p.KVHeads }

// heads is the number of heads of x.
func (p RoPESplitNormParams) heads() uint32 { return p.normed() + min(p.Values, 1)*p.KVHeads }

// headReduction are the variants of a kernel whose workgroups each work together on a head.
func headReduction[P any](passes ...DeclPass[P]) []DeclVariant[P] {
	return []DeclVariant[P]{
		{Name: "lanes", Group: 8, When: func(_ P, c Class) bool { return c == Software }, Passes: passes},
		{Group: 64, Passes: passes},
	}
}

func ropeSplitNormCPU(h Host, p RoPESplitNormParams, b Buffers) {
	x, table, positions, q, k, v, rstd := b.F32(0), b.F32(3), b.I32(4), b.F32(5), b.F32(6), b.F32(7), b.F32(8)
	d, queries, keys, normed := int(p.HeadDim), int(p.Heads), int(p.KVHeads), int(p.normed())
	heads, first := int(p.heads()), int(h.Step()[p.Slot])
	h.Parallel(p.Tokens.At(h.Step()), rowGrain(heads*d), func(lo, hi int) {
		scaled, release := h.Scratch(d)
		defer release()
		for t := lo; t < hi; t++ {
			row, to := x[t*heads*d:][:heads*d], ringRow(first+t, p.Ring)*keys*d
			angles := table[int(positions[t])*d:][:d]
			for head := range normed {
				in, w, out := row[head*d:][:d], b.F32(1), q[min((t*queries+head)*d, len(q)):]
				if head >= queries {
					w, out = b.F32(2), k[to+(head-queries)*d:]
				}
				r := float32(1 / math.Sqrt(simd.SumSquares(in)/float64(d)+float64(p.Eps)))
				rstd[t*normed+head] = r
				simd.RMSNorm(scaled, in, w, r)
				rotate(scaled, angles, out[:d], false, false)
			}
			if p.Values == 1 {
				copy(v[to:], row[normed*d:])
			}
			for head := range keys * int(p.Values/2) {
				in := row[(normed+head)*d:][:d]
				simd.Scale(v[to+head*d:][:d], in, float32(1/math.Sqrt(simd.SumSquares(in)/float64(d)+float64(p.Eps))))
			}
		}
	})
}
