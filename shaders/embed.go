package shaders

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
})
