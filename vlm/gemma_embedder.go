package vlm

import (
	"fmt"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/packing"
)

// Prefixes of the names of Gemma's embedder of images.
const (
	visionEmbedderPrefix   = "vision_embedder."
	visionProjectionPrefix = "embed_vision."
)

// gemmaEmbedder turns patches of images of any shape into vectors of the decoder's hidden size, as
// Gemma 4's unified models do. Its parameters have Hugging Face's names without "model.".
type gemmaEmbedder struct {
	ln1        nn.LayerNorm
	dense      nn.Linear
	ln2        nn.LayerNorm
	positions  *nn.Param // [side, 2, E]: vectors of columns and of rows
	norm       nn.LayerNorm
	rms        nn.RMSNorm // without a weight
	projection nn.Linear
}

func newGemmaEmbedder(d nn.Declarer, c VisionConfig, init Init) *gemmaEmbedder {
	eps, size := float32(c.LayerNormEps), c.EmbedSize
	return &gemmaEmbedder{
		ln1:   d.LayerNorm(visionEmbedderPrefix+"patch_ln1", c.Features(), float32(c.PatchNormEps)),
		dense: d.Linear(visionEmbedderPrefix+"patch_dense", c.Features(), size, true, init.linear(c.Features())),
		ln2:   d.LayerNorm(visionEmbedderPrefix+"patch_ln2", size, eps),
		positions: d.Params.Add(&nn.Param{
			Name: visionEmbedderPrefix + "pos_embedding", Shape: []int{c.MaxGrid, 2, size}, Group: d.Group, Init: nn.Init{Std: init.Positions},
		}),
		norm:       d.LayerNorm(visionEmbedderPrefix+"pos_norm", size, eps),
		rms:        nn.RMSNorm{Eps: float32(c.RMSNormEps)},
		projection: d.Linear(visionProjectionPrefix+"embedding_projection", size, c.HiddenSize, false, init.linear(size)),
	}
}

// forward is patches [N, 3·P²], in row, column, channel order, → [N, D].
func (e *gemmaEmbedder) forward(g *nn.Graph, in *patchInputs, trace Trace) *nn.Tensor {
	x := trace.keep(g, "vision.patch_ln1", e.ln1.Forward(g, in.patches()))
	x = trace.keep(g, "vision.patch_dense", e.dense.Forward(g, x)) // [N, E]
	x = trace.keep(g, "vision.patch_ln2", e.ln2.Forward(g, x))
	table := g.Param(e.positions).Reshape(2*e.positions.Shape[0], e.positions.Shape[2])
	for _, axis := range in.axes {
		x = g.Add(x, g.Embed(axis.index(), table, nil, 1))
	}
	x = trace.keep(g, "vision.pos", x)
	x = trace.keep(g, "vision.pos_norm", e.norm.Forward(g, x))
	x = trace.keep(g, "vision.rms", e.rms.Forward(g, x))
	return trace.keep(g, "vision.projection", e.projection.Forward(g, x))
}

// patchInputs are the device buffers of patches of images of any shape.
type patchInputs struct {
	capacity, features int
	values             *engine.Buffer  // [capacity, 3·P²]
	axes               [2]lookupInputs // of columns and of rows
}

// lookupInputs are the rows of a table to look up, one for each patch, with their gradients' order.
type lookupInputs struct{ ids, none, order, starts, segments *engine.Buffer }

func newPatchInputs(c VisionConfig, capacity int) *patchInputs {
	words := func(label string, n int) *engine.Buffer { return engine.NewBuffer(label, 4*int64(max(1, n))) }
	in := &patchInputs{capacity: capacity, features: c.Features(), values: words("patches", capacity*c.Features())}
	for i := range in.axes {
		in.axes[i] = lookupInputs{
			words("positions of patches", capacity), words("no features", capacity), words("order of positions", capacity),
			words("starts of positions", capacity+1), words("runs of positions", capacity),
		}
	}
	return in
}

func (in *patchInputs) buffers() []*engine.Buffer {
	if in == nil {
		return nil
	}
	all := []*engine.Buffer{in.values}
	for _, a := range in.axes {
		all = append(all, a.ids, a.none, a.order, a.starts, a.segments)
	}
	return all
}

// patches are the patches in use: [capacity, 3·P²].
func (in *patchInputs) patches() *nn.Tensor {
	return nn.Input(in.values, in.capacity, in.features).RowCount(SlotPatches)
}

func (l lookupInputs) index() nn.TokenIndex {
	input := func(b *engine.Buffer) *nn.Tensor { return nn.Input(b, int(b.Bytes/4)) }
	return nn.TokenIndex{IDs: input(l.ids), Slots: input(l.none), Order: input(l.order), Starts: input(l.starts), SegmentIDs: input(l.segments)}
}

// words are the lookups of the patches' columns (axis 0) or rows (1), whose vectors alternate in the
// table. positions are column and row of each patch.
func (l lookupInputs) words(positions []int32, axis int) []words {
	n := len(positions) / 2
	b := packing.Batch{
		IDs: make([]int32, n), Segments: make([]int32, n), ImageSlots: make([]int32, n),
	}
	none := make([]int32, l.none.Bytes/4)
	for i := range none {
		none[i] = -1
	}
	for i := range n {
		b.IDs[i], b.ImageSlots[i] = 2*positions[2*i+axis]+int32(axis), -1
	}
	order := b.EmbeddingOrder()
	// All entries are read: those of no patch are of no row of the table.
	for len(order.SegmentID) < len(none) {
		order.SegmentID = append(order.SegmentID, -1)
		order.SegmentStart = append(order.SegmentStart, order.SegmentStart[len(order.SegmentStart)-1])
	}
	return []words{{l.ids, b.IDs}, {l.none, none}, {l.order, order.Order}, {l.starts, order.SegmentStart}, {l.segments, order.SegmentID}}
}

// gemmaPatches are the values of patches of pixels [patches,P,P,3], in their order, as Gemma's
// processor scales them, and the column and the row of each; grid has their rows and columns.
func gemmaPatches(pixels []byte, grid []int32) (values []float32, positions []int32) {
	values = make([]float32, len(pixels))
	for i, b := range pixels {
		values[i] = float32(b) * (1 / float32(255))
	}
	for i := 0; i < len(grid); i += 2 {
		positions = append(positions, grid[i+1], grid[i])
	}
	return values, positions
}

// upload writes patches of images, and their positions: the column and the row of each.
func (in *patchInputs) upload(dev engine.Device, values []float32, positions []int32, patches int) error {
	if patches > in.capacity || len(values) != patches*in.features || len(positions) != 2*patches {
		return fmt.Errorf("upload of %d values and %d positions for %d patches of %d values", len(values), len(positions)/2, patches, in.features)
	}
	var all []words
	for i, axis := range in.axes {
		all = append(all, axis.words(positions, i)...)
	}
	var block []byte
	if err := uploadWords(dev, &block, all); err != nil || patches == 0 {
		return err
	}
	return engine.Upload(dev, in.values.View().Slice(0, 4*int64(len(values))), values)
}
