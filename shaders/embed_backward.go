package shaders

// EmbedBackwardParams are the parameters of EmbedBackward.
type EmbedBackwardParams struct {
	Segments Count
	Cols     uint32
}

// EmbedBackward adds dy [Tokens,Cols] to the rows of dtable [V,Cols] that the
// tokens were looked up in. The host sorts the tokens by id: segment s is the
// tokens order[starts[s]:starts[s+1]], which share id segment_ids[s]. Every row
// is summed by one invocation in that order, so that no atomics are needed and
// the bits do not change from run to run.
var EmbedBackward = Declare(Decl[EmbedBackwardParams]{
	Name: "embed_backward",
	Bindings: []Binding{
		{Name: "order", Type: I32, Access: Read},
		{Name: "starts", Type: I32, Access: Read},
		{Name: "segment_ids", Type: I32, Access: Read},
		{Name: "dy", Access: Read},
		{Name: "dtable", Access: ReadWrite},
	},
	CPU: func(h Host, p EmbedBackwardParams, b Buffers) {
		order, starts, ids, dy, dtable := b.I32(0), b.I32(1), b.I32(2), b.F32(3), b.F32(4)
		cols := int(p.Cols)
		h.Parallel(p.Segments.At(h.Step()), 1, func(lo, hi int) {
			for s := lo; s < hi; s++ {
				row := dtable[int(ids[s])*cols:][:cols]
				for _, t := range order[starts[s]:starts[s+1]] {
					addTo(row, dy[int(t)*cols:])
				}
			}
		})
	},
})
