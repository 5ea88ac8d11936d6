package shaders

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"

	"patchwork/shaders/quant"
)

// AttentionQuant is Attention over keys and values that AppendQuant has rounded to 8 bits: k and
// v have a row of K·D values for every token, which takes QuantRowBytes. D is a multiple
// of 32.
var AttentionQuant = Declare(Decl[AttentionParams]{
	Name: "attention_quant",
	Bindings: []Binding{
		{Name: "q", Access: Read},
		{Name: "k_blocks", Type: U32, Access: Read},
		{Name: "v_blocks", Type: U32, Access: Read},
		{Name: "intervals", Type: I32, Access: Read},
		{Name: "y", Access: Write},
		{Name: "lse", Access: Write},
	},
	Include:  []string{"exp", "attention", "attention_keys", "attention_q8"},
	Variants: attentionQuantVariants(),
	Halves:   [][]string{{"q", "y"}},
	Even:     func(AttentionParams) bool { return true }, // whole blocks
	CPU:      attentionQuantCPU,
	Reference: func(p AttentionParams, b []Array) {
		b = slices.Clone(b)
		b[1], b[2] = decodeQuantRows(p, b[1].I), decodeQuantRows(p, b[2].I)
		Attention.Reference(p, nil, b)
	},
	Cost: func(p AttentionParams) Cost {
		q, _ := attentionSizes(p)
		rows := QuantRowBytes(int(p.KVHeads*p.HeadDim)) * int(p.Batch*p.Keys)
		return Cost{Flops: 4 * float64(q) * float64(p.Keys), Bytes: 8*float64(q) + 2*float64(rows)}
	},
	Inputs: func(p AttentionParams, n []int) map[string]Input {
		in := attentionInputs(p, n)
		in["k_blocks"], in["v_blocks"] = quantRows(p, 1), quantRows(p, 2)
		return in
	},
	Cases: attentionQuantCases,
})

// attentionQuantVariants are those of Attention that load four columns at a time.
func attentionQuantVariants() []DeclVariant[AttentionParams] {
	var all []DeclVariant[AttentionParams]
	for _, v := range slices.Concat(attentionRows(), attentionSoftwareForward(), attentionGPU()) {
		switch v.Name {
		case "rows", "rows.d512":
			v.Include = []string{"group", "attention_row_vec4"}
			v.Consts = map[string]uint32{"SPAN": 64, "COLUMNS": v.Consts["COLUMNS"] / 4}
		case "lanes.d64x4":
			v.Source = "attention"
		case "rows4", "subgroup.d64x4", "d64x4", "d128x4":
		default:
			continue
		}
		v.Name, v.Vec4 = strings.TrimSuffix(v.Name, "x4"), []string{"q", "y"}
		all = append(all, v)
	}
	return all
}

// decodeQuantRows are the values of all rows of keys or values.
func decodeQuantRows(p AttentionParams, words []int64) Array {
	cols, rows := int(p.KVHeads*p.HeadDim), int(p.Batch*p.Keys)
	a, n := Array{}, QuantRowBytes(cols)/4
	for r := range rows {
		for _, v := range decodeWords(quant.Q8_0, words[r*n:][:n], cols) {
			a.F = append(a.F, float64(v))
		}
	}
	return a
}

// quantRows are rows of normally distributed values, rounded; the stream distinguishes inputs.
func quantRows(p AttentionParams, stream uint64) Input {
	cols, rows := int(p.KVHeads*p.HeadDim), int(p.Batch*p.Keys)
	random, x := rand.New(rand.NewPCG(uint64(rows*cols), stream)), make([]float32, cols)
	row := make([]byte, QuantRowBytes(cols))
	var in Input
	for range rows {
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		quant.Q8_0.Encode(row, x)
		for i := 0; i < len(row); i += 4 {
			in.U = append(in.U, binary.LittleEndian.Uint32(row[i:]))
		}
	}
	return in
}

func attentionQuantCases() []Case {
	var cases []Case
	for _, c := range attentionCases(func(p AttentionParams, in []Input) []Input {
		q, _ := attentionSizes(p)
		return []Input{in[0], {}, {}, in[3], {N: q}, {N: q / max(1, int(p.HeadDim))}}
	}) {
		p := c.Params.(AttentionParams)
		if p.HeadDim%32 != 0 {
			continue
		}
		c.Inputs[1], c.Inputs[2] = quantRows(p, 1), quantRows(p, 2)
		c.ProductRoundingTolerance = 3 // 0.5 of the largest value, and weights add up to 1
		cases = append(cases, c)
	}
	return cases
}
