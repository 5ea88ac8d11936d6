package shaders

import "slices"

// EmbedParams are the parameters of Embed.
type EmbedParams struct {
	Tokens Count
	Cols   uint32
}

// Embed looks up y[t] = table[ids[t]], except that a token whose slot is not -1
// takes features[slot] instead: the pictures' vectors overwrite the embeddings
// of their placeholders. table [V,Cols], features [slots,Cols], y [Tokens,Cols].
var Embed = Declare(Decl[EmbedParams]{
	Name: "embed",
	Bindings: []Binding{
		{Name: "ids", Type: I32, Access: Read},
		{Name: "slots", Type: I32, Access: Read},
		{Name: "table", Access: Read},
		{Name: "features", Access: Read, Optional: true},
		{Name: "y", Access: Write},
	},
	Include:  []string{"place"},
	Variants: along(func(p EmbedParams) (rows, cols int) { return int(p.Tokens.Max), int(p.Cols) }),
	Halves:   [][]string{{"features"}, {"table"}, {"table", "features"}},
	Even:     func(p EmbedParams) bool { return p.Cols%2 == 0 },
	CPU: func(h Host, p EmbedParams, b Buffers) {
		ids, slots, table, features, y := b.I32(0), b.I32(1), b.F32(2), b.F32(3), b.F32(4)
		cols := int(p.Cols)
		h.Parallel(p.Tokens.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for t := lo; t < hi; t++ {
				from := table[int(ids[t])*cols:]
				if slots[t] >= 0 {
					from = features[int(slots[t])*cols:]
				}
				copy(y[t*cols:][:cols], from[:cols])
			}
		})
	},
	Reference: func(p EmbedParams, b []Array) {
		ids, slots, table, features, y, d := b[0].I, b[1].I, b[2].F, b[3].F, b[4].F, int(p.Cols)
		for t := range int(p.Tokens.Max) {
			from := table[int(ids[t])*d:]
			if slots[t] >= 0 {
				from = features[int(slots[t])*d:]
			}
			copy(y[t*d:][:d], from)
		}
	},
	Cost: func(p EmbedParams) Cost { return Cost{Bytes: 8 * float64(p.Tokens.Max) * float64(p.Cols)} },
	// The features, where there are any, stand before the text.
	Inputs: func(p EmbedParams, n []int) map[string]Input {
		slots := slices.Repeat([]int32{-1}, n[1])
		for t := range min(n[1], n[3]/int(p.Cols)) {
			slots[t] = int32(t)
		}
		return map[string]Input{"ids": integers(n[0], 0, n[2]/int(p.Cols)), "slots": {I: slots}}
	},
	Cases: func() []Case {
		cases := overRows(func(tokens Count, cols int) Case {
			n := int(tokens.Max)
			inputs := []Input{integers(n, 0, 11), integers(n, -1, 5), {N: 11 * cols, Scale: 1}, {N: 5 * cols, Scale: 1}, {N: n * cols}}
			return Case{Params: EmbedParams{tokens, uint32(cols)}, Inputs: inputs}
		})
		text := []Input{integers(9, 0, 11), integers(9, -1, 0), {N: 11 * 7, Scale: 1}, {Absent: true}, {N: 9 * 7}}
		return append(cases, Case{Name: "no features", Params: EmbedParams{N(9), 7}, Inputs: text})
	},
})
