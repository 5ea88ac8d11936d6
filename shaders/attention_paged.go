package shaders

import (
	"math/rand/v2"
	"slices"
)

// AttentionPagedParams are the parameters of AttentionPaged.
type AttentionPagedParams struct {
	Batch    uint32 // B sequences
	Queries  uint32 // Tq of each, a few
	Keys     uint32 // Tk, the most that a sequence has: its pages' rows
	Heads    uint32 // H
	KVHeads  uint32 // K; query head h reads key head h/(H/K)
	HeadDim  uint32 // D
	PageRows uint32 // rows of a page
	Scale    float32
}

// attention are the parameters of Attention over the same keys in one piece.
func (p AttentionPagedParams) attention() AttentionParams {
	return AttentionParams{
		Batch: p.Batch, Queries: p.Queries, Keys: p.Keys, Heads: p.Heads, KVHeads: p.KVHeads, HeadDim: p.HeadDim, Scale: p.Scale,
	}
}

// pages is the number of pages of a sequence.
func (p AttentionPagedParams) pages() int { return int(p.Keys / p.PageRows) }

// AttentionPaged is Attention of a few queries over keys and values [pages,PageRows,K,D] in pages that
// sequences may share: key t of sequence b is row t%PageRows of page pages[b, t/PageRows], for pages
// [B,Tk/PageRows]. Only pages with keys that a query sees are read.
var AttentionPaged = Declare(Decl[AttentionPagedParams]{
	Name: "attention_paged",
	Bindings: []Binding{
		{Name: "q", Access: Read},
		{Name: "k", Access: Read},
		{Name: "v", Access: Read},
		{Name: "intervals", Type: I32, Access: Read},
		{Name: "pages", Type: I32, Access: Read},
		{Name: "y", Access: Write},
		{Name: "lse", Access: Write},
	},
	Include:   []string{"exp", "attention", "attention_pages"},
	Variants:  attentionPagedVariants(),
	Halves:    [][]string{{"q", "k", "v", "y"}},
	Even:      func(p AttentionPagedParams) bool { return p.HeadDim%2 == 0 },
	CPU:       attentionPagedCPU,
	CPUNarrow: attentionPagedNarrowCPU,
	Reference: func(p AttentionPagedParams, b []Array) {
		b = slices.Clone(b)
		for _, i := range []int{1, 2} {
			b[i] = inOnePiece(p, b[i], b[4].I)
		}
		Attention.Reference(p.attention(), nil, append(b[:4:4], b[5:]...))
	},
	Cost: func(p AttentionPagedParams) Cost { return Attention.Cost(p.attention()) },
	Inputs: func(p AttentionPagedParams, n []int) map[string]Input {
		in := attentionInputs(p.attention(), n)
		in["pages"] = distinctRows(n[4], n[1]/int(p.PageRows*p.KVHeads*p.HeadDim))
		return in
	},
	Cases: attentionPagedCases,
})

// attentionPagedVariants are those of Attention for a few queries.
func attentionPagedVariants() []DeclVariant[AttentionPagedParams] {
	var all []DeclVariant[AttentionPagedParams]
	for _, v := range attentionRows() {
		all = append(all, DeclVariant[AttentionPagedParams]{
			Name: v.Name, Source: v.Source, Include: v.Include, Group: v.Group, Unroll: v.Unroll, Vec4: v.Vec4, Consts: v.Consts,
			When: func(p AttentionPagedParams, c Class) bool { return v.When(p.attention(), c) },
			Passes: []DeclPass[AttentionPagedParams]{{Grid: func(p AttentionPagedParams) [3]uint32 {
				return v.Passes[0].Grid(p.attention())
			}}},
		})
	}
	return all
}

// inOnePiece returns the keys or values of every sequence, [B,Tk,K,D].
func inOnePiece(p AttentionPagedParams, x Array, pages []int64) (out Array) {
	size := int(p.PageRows * p.KVHeads * p.HeadDim)
	for _, page := range pages[:int(p.Batch)*p.pages()] {
		out.F = append(out.F, x.F[int(page)*size:][:size]...)
	}
	return out
}

// attentionPagedCases are those of Attention with as few queries, where the keys are in pages of 8 rows in
// any order. The first page of the second sequence is that of the first.
func attentionPagedCases() []Case {
	const rows = 8
	var cases []Case
	for i, c := range attentionCases(func(p AttentionParams, in []Input) []Input {
		q, _ := attentionSizes(p)
		return append(in, Input{}, Input{N: q}, Input{N: q / int(p.HeadDim)})
	}) {
		a := c.Params.(AttentionParams)
		if a.Queries > narrowQueries {
			continue
		}
		p := AttentionPagedParams{a.Batch, a.Queries, (a.Keys + rows - 1) / rows * rows, a.Heads, a.KVHeads, a.HeadDim, rows, a.Scale}
		pages := int(p.Batch) * p.pages()
		order := rand.New(rand.NewPCG(uint64(i), 0)).Perm(pages)
		if p.Batch > 1 {
			order[p.pages()] = order[0]
		}
		c.Inputs[4] = Input{I: make([]int32, pages)}
		for i, page := range order {
			c.Inputs[4].I[i] = int32(page)
		}
		n := pages * rows * int(p.KVHeads*p.HeadDim)
		c.Inputs[1], c.Inputs[2] = values(n, 1, 1), values(n, 2, 1)
		c.ProductRoundingTolerance = 0.5 * largest(c.Inputs[2].F)
		c.Params = p
		cases = append(cases, c)
	}
	return cases
}
