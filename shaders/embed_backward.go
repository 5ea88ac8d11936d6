package shaders

import "math"

// EmbedBackwardParams are the parameters of EmbedBackward.
type EmbedBackwardParams struct {
	Segments Count
	Cols     uint32
	Rows     uint32  // of dtable, or of the part of it that the call binds
	First    uint32  // first row of that part
	Scale    float32 // of dy
}

// EmbedBackward adds Scale·dy [Tokens,Cols] to the rows of dtable [V,Cols] that the tokens were
// looked up in. The host sorts the tokens by id: segment s is the tokens
// order[starts[s]:starts[s+1]], which share id segment_ids[s]. Every row is summed by one
// invocation in that order, so that no atomics are needed and the bits do not change from
// run to run. Segments whose ids are not rows of dtable are skipped.
var EmbedBackward = Declare(Decl[EmbedBackwardParams]{
	Name: "embed_backward",
	Bindings: []Binding{
		{Name: "order", Type: I32, Access: Read},
		{Name: "starts", Type: I32, Access: Read},
		{Name: "segment_ids", Type: I32, Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dtable", Access: ReadWrite},
	},
	Include:  []string{"sum", "position"},
	Variants: One(func(p EmbedBackwardParams) [3]uint32 { return gridRows(int(p.Segments.Max), int(p.Cols)) }),
	Axes: func(p EmbedBackwardParams) []Axis {
		return []Axis{tableAxis("dtable", p.Cols, p.Rows, func(first, rows uint32) any {
			part := p
			part.First, part.Rows = p.First+first, rows
			return part
		})}
	},
	CPU: func(h Host, p EmbedBackwardParams, b Buffers) {
		order, starts, ids, dy, dtable := b.I32(0), b.I32(1), b.I32(2), b.F32(3), b.F32(4)
		cols := int(p.Cols)
		h.Parallel(p.Segments.At(h.Step()), 1, func(lo, hi int) {
			for s := lo; s < hi; s++ {
				id, here := inTable(ids[s], p.First, p.Rows)
				if !here {
					continue
				}
				row := dtable[id*cols:][:cols]
				for _, t := range order[starts[s]:starts[s+1]] {
					addScaled(row, dy[int(t)*cols:], p.Scale)
				}
			}
		})
	},
	Reference: func(p EmbedBackwardParams, b []Array) {
		order, starts, ids, dy, dtable, d := b[0].I, b[1].I, b[2].I, b[3].F, b[4].F, int(p.Cols)
		for s := range int(p.Segments.Max) {
			id, here := inTable(int32(ids[s]), p.First, p.Rows)
			if !here {
				continue
			}
			for _, t := range order[starts[s]:starts[s+1]] {
				for i := range d {
					dtable[id*d+i] += float64(p.Scale) * dy[int(t)*d+i]
				}
			}
		}
	},
	Cost: func(p EmbedBackwardParams) Cost {
		n := float64(p.Segments.Max) * float64(p.Cols) // of one token each, at least
		return Cost{Flops: n, Bytes: 12 * n}
	},
	// Tokens in segments of nearly equal length.
	Inputs: func(p EmbedBackwardParams, n []int) map[string]Input {
		tokens, rows, segments := n[0], n[4]/int(p.Cols), int(p.Segments.Max)
		starts, ids := make([]int32, n[1]), make([]int32, n[2])
		for s := range starts {
			starts[s] = int32(tokens * min(s, segments) / max(1, segments))
		}
		for s := range ids {
			ids[s] = int32(s % rows)
		}
		return map[string]Input{"order": {I: permutation(tokens)}, "starts": {I: starts}, "segment_ids": {I: ids}}
	},
	Cases: func() []Case {
		// Every table row has tokens, one of them the majority.
		scaled := func(segments Count, cols, tokens, first, rows int, scale float32) Case {
			n := int(segments.Max)
			starts := make([]int32, n+1)
			for i := range starts {
				starts[i] = int32(i)
			}
			starts[n] = int32(tokens)
			ids := permutation(n)
			for i := range ids {
				ids[i] *= int32(max(1, (first+rows)/n)) // all over the table
			}
			return Case{
				Params: EmbedBackwardParams{Segments: segments, Cols: uint32(cols), First: uint32(first), Rows: uint32(rows), Scale: scale},
				Inputs: []Input{{I: permutation(tokens)}, {I: starts}, {I: ids}, {N: tokens * cols, Scale: 1}, {N: rows * cols, Scale: 1}},
				Atol:   1e-5 * math.Sqrt(float64(tokens)), Rtol: 1e-6, // as many roundings of sums of size √tokens, at random
			}.named("%dx%d of %d tokens", n, cols, tokens)
		}
		part := func(segments Count, cols, tokens, first, rows int) Case {
			return scaled(segments, cols, tokens, first, rows, 1)
		}
		call := func(segments Count, cols, tokens int) Case {
			return part(segments, cols, tokens, 0, int(segments.Max))
		}
		return append(overCounts(9, func(n Count) Case { return call(n, 17, 30) }),
			call(N(1), 1, 1), call(N(1), 65, 5000), call(N(7), 300, 40), call(N(7), 64, 20), call(N(65537), 2, 65600),
			part(N(40), 17, 90, 20, 11).named("a part of the table"), part(N(40), 17, 90, 0, 280).named("a large table"),
			scaled(N(7), 33, 40, 0, 7, 2.5).named("scaled"))
	},
})
