package nn

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// TokenIndex is a batch's inputs of embedding lookups: the ids and image slots of the
// tokens, and for the gradients the text tokens sorted by id (see shaders.EmbedBackward)
// and the token of every image slot. All are int32.
type TokenIndex struct {
	IDs          *Tensor // [T]
	Slots        *Tensor // [T]: row of the features that replaces the embedding, or -1
	Order        *Tensor // [T]: text tokens by id
	Starts       *Tensor // [T+1]: start of each run of equal ids in Order
	SegmentIDs   *Tensor // [T]: the id of the run
	SegmentsSlot int     // step block entry with the number of runs; 0 = all
	SlotTokens   *Tensor // [slots]: the token of each slot
}

// Embed looks the tokens up in table [V,D] and replaces the embeddings of image tokens by
// the image vectors, features [slots,D] (nil without images): [T,D]. The table's rows are multiplied
// by scale, the vectors are not.
func (g *Graph) Embed(index TokenIndex, table, features *Tensor, scale float32) *Tensor {
	d, tokens := table.Cols(), index.IDs.Size()
	check(features == nil || features.Cols() == d, "embed", "table [V,D] and features [slots,D]", table, features)
	y := g.NewFloat32("embeddings", tokens, d)
	rows := table.View()
	if table.node.rounded {
		rows = table.node.half
	}
	if f := table.node.format; f == nil {
		g.record(shaders.Embed, shaders.EmbedParams{Tokens: shaders.N(tokens), Cols: uint32(d), Rows: uint32(table.Shape[0]), Scale: scale},
			index.IDs.View(), index.Slots.View(), rows, viewOf(features), y.View())
	} else {
		g.record(shaders.EmbedQuant, shaders.EmbedQuantParams{Tokens: shaders.N(tokens), Cols: uint32(d), Rows: uint32(table.Shape[0]), Format: uint32(*f), Scale: scale},
			index.IDs.View(), index.Slots.View(), table.View(), viewOf(features), y.View())
	}
	g.onBackward(y, func(dy engine.View) {
		g.embedTableGradient(index, table, dy, scale)
		if features == nil {
			return
		}
		if df, add, ok := g.gradient(features); ok {
			g.record(shaders.GatherRows, shaders.GatherRowsParams{Rows: features.rows(), Cols: uint32(d), Accumulate: shaders.Flag(add)},
				index.SlotTokens.View(), dy, df)
		}
	})
	return y
}

func (g *Graph) embedTableGradient(index TokenIndex, table *Tensor, dy engine.View, scale float32) {
	dtable, add, ok := g.gradient(table)
	if !ok {
		return
	}
	if !add {
		g.fill(dtable, table.Size(), 0)
	}
	runs := shaders.Count{Max: uint32(index.SegmentIDs.Size()), Slot: uint32(index.SegmentsSlot)}
	g.record(shaders.EmbedBackward, shaders.EmbedBackwardParams{Segments: runs, Cols: uint32(table.Cols()), Rows: uint32(table.Shape[0]), Scale: scale},
		index.Order.View(), index.Starts.View(), index.SegmentIDs.View(), dy, dtable)
}
