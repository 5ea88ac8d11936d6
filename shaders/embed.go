package shaders

import "patchwork/shaders/simd"

import "slices"

// EmbedParams are the parameters of Embed.
type EmbedParams struct {
	Tokens Count
	Cols   uint32
	Rows   uint32  // of the table, or of the part of it that the call binds
	First  uint32  // first row of that part
	Scale  float32 // of the table's rows; features are not scaled
}

// Embed looks up y[t] = Scale·table[ids[t]], except that a token whose slot is not -1 takes
// features[slot] instead: the images' vectors replace the embeddings of their
// placeholders. table [V,Cols], features [slots,Cols], y [Tokens,Cols]. Tokens whose ids
// are not rows of the table are left unchanged.
var Embed = Declare(Decl[EmbedParams]{
	Name: "embed",
	Bindings: []Binding{
		{Name: "ids", Type: I32, Access: Read},
		{Name: "slots", Type: I32, Access: Read},
		{Name: "table", Access: Read},
		{Name: "features", Access: Read, Optional: true},
		{Name: "y", Access: ReadWrite},
	},
	Include:  []string{"position"},
	Variants: rowwise(func(p EmbedParams) (rows, cols int) { return int(p.Tokens.Max), int(p.Cols) }),
	Halves:   [][]string{{"features"}, {"table"}, {"table", "features"}},
	Even:     func(p EmbedParams) bool { return p.Cols%2 == 0 },
	Axes: func(p EmbedParams) []Axis {
		tokens := alongCount(func(p *EmbedParams) *Count { return &p.Tokens }, func(p EmbedParams) map[string]int64 {
			return map[string]int64{"ids": 4, "slots": 4, "y": rowBytes(p.Cols)}
		}, nil)(p)
		return append(tokens, tableAxis("table", p.Cols, p.Rows, func(first, rows uint32) any {
			part := p
			part.First, part.Rows = p.First+first, rows
			return part
		}))
	},
	CPU: func(h Host, p EmbedParams, b Buffers) { embedCPU(h, p, b, Storage{}) },
	CPUNarrow: func(h Host, p EmbedParams, b Buffers, s Storage) bool {
		embedCPU(h, p, b, s)
		return true
	},
	Reference: func(p EmbedParams, b []Array) {
		ids, slots, table, features, y, d := b[0].I, b[1].I, b[2].F, b[3].F, b[4].F, int(p.Cols)
		for t := range int(p.Tokens.Max) {
			id, here := inTable(int32(ids[t]), p.First, p.Rows)
			switch {
			case !here:
			case slots[t] >= 0:
				copy(y[t*d:][:d], features[int(slots[t])*d:])
			default:
				for i, v := range table[id*d:][:d] {
					y[t*d+i] = v * float64(p.Scale)
				}
			}
		}
	},
	Cost: func(p EmbedParams) Cost { return Cost{Bytes: 8 * float64(p.Tokens.Max) * float64(p.Cols)} },
	// The features, where there are any, come before the text.
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
			return Case{Params: EmbedParams{Tokens: tokens, Cols: uint32(cols), Rows: 11, Scale: 1}, Inputs: inputs}
		})
		text := []Input{integers(9, 0, 11), integers(9, -1, 0), {N: 11 * 7, Scale: 1}, {Absent: true}, {N: 9 * 7}}
		even := []Input{integers(9, 0, 11), integers(9, -1, 3), {N: 11 * 8, Scale: 1}, {N: 3 * 8, Scale: 1}, {N: 9 * 8}}
		part := []Input{integers(90, 0, 40), integers(90, -1, 3), {N: 11 * 7, Scale: 1}, {N: 3 * 7, Scale: 1}, {N: 90 * 7, Scale: 1}}
		return append(cases, Case{Name: "no features", Params: EmbedParams{Tokens: N(9), Cols: 7, Rows: 11, Scale: 1}, Inputs: text},
			Case{Name: "a part of the table", Params: EmbedParams{Tokens: N(90), Cols: 7, First: 20, Rows: 11, Scale: 1}, Inputs: part},
			Case{Name: "scaled", Params: EmbedParams{Tokens: N(90), Cols: 7, First: 20, Rows: 11, Scale: 6.9}, Inputs: part, Rtol: 1e-7},
			Case{Name: "even rows, scaled", Params: EmbedParams{Tokens: N(9), Cols: 8, Rows: 11, Scale: 0.3}, Inputs: even, Rtol: 1e-7})
	},
})

// inTable returns the row of an id in the part of a table that has the given number of
// rows and starts at row first.
func inTable(id int32, first, rows uint32) (row int, here bool) {
	at := uint32(id) - first // beyond every row where the id is before the first
	return int(at), at < rows
}

// scaleRow multiplies a row by a factor.
func scaleRow(row []float32, by float32) {
	if by != 1 {
		simd.Scale(row, row, by)
	}
}

// tableAxis divides a table of vectors into tables of fewer rows.
func tableAxis(binding string, cols, rows uint32, part func(first, rows uint32) any) Axis {
	return Axis{rows, map[string]Span{binding: {Stride: rowBytes(cols)}}, part}
}

// embedCPU converts, where a table or the features are of 16 bits, only the rows that are
// looked up.
func embedCPU(h Host, p EmbedParams, b Buffers, s Storage) {
	ids, slots, y, cols := b.I32(0), b.I32(1), b.F32(4), int(p.Cols)
	row := func(i, at int, dst []float32) {
		if s.Bindings>>i&1 == 0 {
			copy(dst, b.F32(i)[at*cols:])
		} else {
			simd.Unpack(s.Type.Format(), dst, b.U16(i)[at*cols:][:cols])
		}
	}
	h.Parallel(p.Tokens.At(h.Step()), rowGrain(cols), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			id, here := inTable(ids[t], p.First, p.Rows)
			switch {
			case !here:
			case slots[t] >= 0:
				row(3, int(slots[t]), y[t*cols:][:cols])
			default:
				row(2, id, y[t*cols:][:cols])
				scaleRow(y[t*cols:][:cols], p.Scale)
			}
		}
	})
}
