package shaders

import (
	"patchwork/shaders/quant"
	"patchwork/shaders/quant/simd"
)

// EmbedQuantParams are the parameters of EmbedQuant.
type EmbedQuantParams struct {
	Tokens Count
	Cols   uint32
	Rows   uint32  // of the table, or of the part of it that the call binds
	First  uint32  // first row of that part
	Format uint32  // a quant.Format
	Scale  float32 // of the table's rows
}

// EmbedQuant is Embed with a quantised table, whose rows are whole blocks of a
// quant.Format as in MatMulQuant.
var EmbedQuant = Declare(Decl[EmbedQuantParams]{
	Name: "embed_quant",
	Bindings: []Binding{
		{Name: "ids", Type: I32, Access: Read},
		{Name: "slots", Type: I32, Access: Read},
		{Name: "table", Type: U32, Access: Read},
		{Name: "features", Access: Read, Optional: true},
		{Name: "y", Access: ReadWrite},
	},
	Variants: perFormat("", embedQuantVariant),
	Halves:   [][]string{{"features"}},
	Even:     func(EmbedQuantParams) bool { return true }, // whole blocks
	Axes: func(p EmbedQuantParams) []Axis {
		tokens := alongCount(func(p *EmbedQuantParams) *Count { return &p.Tokens }, func(p EmbedQuantParams) map[string]int64 {
			return map[string]int64{"ids": 4, "slots": 4, "y": rowBytes(p.Cols)}
		}, nil)(p)
		table := Span{Stride: int64(quant.Format(p.Format).Bytes(int(p.Cols)))}
		return append(tokens, Axis{p.Rows, map[string]Span{"table": table}, func(first, rows uint32) any {
			part := p
			part.First, part.Rows = p.First+first, rows
			return part
		}})
	},
	CPU: func(h Host, p EmbedQuantParams, b Buffers) {
		ids, slots, features, y, cols, f := b.I32(0), b.I32(1), b.F32(3), b.F32(4), int(p.Cols), quant.Format(p.Format)
		h.Parallel(p.Tokens.At(h.Step()), rowGrain(cols), func(lo, hi int) {
			for t := lo; t < hi; t++ {
				id, here := inTable(ids[t], p.First, p.Rows)
				switch {
				case !here:
				case slots[t] >= 0:
					copy(y[t*cols:][:cols], features[int(slots[t])*cols:])
				default:
					simd.Decode(f, y[t*cols:][:cols], b[2][id*f.Bytes(cols):])
					scaleRow(y[t*cols:][:cols], p.Scale)
				}
			}
		})
	},
	Reference: func(p EmbedQuantParams, b []Array) {
		ids, slots, features, y, d := b[0].I, b[1].I, b[3].F, b[4].F, int(p.Cols)
		table := decodeWords(quant.Format(p.Format), b[2].I, int(p.Rows)*d)
		for t := range int(p.Tokens.Max) {
			id, here := inTable(int32(ids[t]), p.First, p.Rows)
			switch {
			case !here:
			case slots[t] >= 0:
				copy(y[t*d:][:d], features[int(slots[t])*d:])
			default:
				for i, v := range table[id*d:][:d] {
					y[t*d+i] = float64(v) * float64(p.Scale)
				}
			}
		}
	},
	Cost: func(p EmbedQuantParams) Cost {
		tokens, f := float64(p.Tokens.Max), quant.Format(p.Format)
		return Cost{Bytes: tokens * float64(4*int(p.Cols)+f.Bytes(int(p.Cols)))}
	},
	// The features, where there are any, come before the text.
	Inputs: func(p EmbedQuantParams, n []int) map[string]Input {
		inputs := Embed.inputs(EmbedParams{Tokens: p.Tokens, Cols: p.Cols, Rows: p.Rows, First: p.First}, append([]int{n[0], n[1], int(p.Rows * p.Cols)}, n[3:]...))
		inputs["table"] = quantInput(quant.Format(p.Format), int(p.Rows*p.Cols))
		return inputs
	},
	Cases: func() []Case {
		var cases []Case
		for _, f := range quant.Formats {
			call := func(tokens Count, rows, cols, lowest, highest int) Case {
				n := int(tokens.Max)
				inputs := []Input{integers(n, 0, rows), integers(n, lowest, highest), quantInput(f, rows*cols), {N: 5 * cols, Scale: 1}, {N: n * cols}}
				c := Case{Params: EmbedQuantParams{Tokens: tokens, Cols: uint32(cols), Rows: uint32(rows), Format: uint32(f), Scale: 1}, Inputs: inputs, Atol: 1e-6, Rtol: 1e-6}
				return c.named("%v %dx%d of %d rows", f, n, cols, rows)
			}
			cases = append(cases, call(N(1), 3, 256, -1, 0), call(N(9), 11, 512, -1, 5), call(N(130), 11, 256, -1, 5))
			cases = append(cases, overCounts(40, func(tokens Count) Case { return call(tokens, 7, 256, -1, 5) })...)
			if elements, _ := f.Block(); elements == 32 {
				cases = append(cases, call(N(17), 9, 96, -1, 5))
			}
			text := call(N(9), 11, 256, -1, 0)
			text.Inputs[3] = Input{Absent: true}
			part := call(N(90), 11, 256, -1, 3)
			p := part.Params.(EmbedQuantParams)
			p.First = 20
			part.Params, part.Inputs[0] = p, integers(90, 0, 40)
			scaled := call(N(9), 11, 256, -1, 5)
			p = scaled.Params.(EmbedQuantParams)
			p.Scale = 6.9
			scaled.Params, scaled.Atol = p, 6.9*scaled.Atol
			cases = append(cases, text.named("%v no features", f), part.named("%v a part of the table", f), scaled.named("%v scaled", f))
		}
		return cases
	},
})
