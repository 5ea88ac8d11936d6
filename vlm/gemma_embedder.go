package vlm

import "patchwork/nn"

// Prefixes of the names of Gemma's embedder of images.
const (
	visionEmbedderPrefix   = "vision_embedder."
	visionProjectionPrefix = "embed_vision."
)

// gemmaEmbedder turns patches of images of any shape into vectors of the decoder's hidden size, as
// Gemma 4's unified models do. Its parameters have Hugging Face's names without "model."; the one table
// of positions there, [side, 2, E], is two here.
type gemmaEmbedder struct {
	ln1        nn.LayerNorm
	dense      nn.Linear
	ln2        nn.LayerNorm
	xPos, yPos *nn.Param // [side, E]
	norm       nn.LayerNorm
	rms        nn.RMSNorm // without a weight
	projection nn.Linear
}

func newGemmaEmbedder(d nn.Declarer, c VisionConfig, init Init) *gemmaEmbedder {
	eps, size := float32(c.LayerNormEps), c.EmbedSize
	return &gemmaEmbedder{
		ln1:        d.LayerNorm(visionEmbedderPrefix+"patch_ln1", c.Features(), float32(c.PatchNormEps)),
		dense:      d.Linear(visionEmbedderPrefix+"patch_dense", c.Features(), size, true, init.linear(c.Features())),
		ln2:        d.LayerNorm(visionEmbedderPrefix+"patch_ln2", size, eps),
		xPos:       d.Table(visionEmbedderPrefix+"pos_embedding.x", c.MaxGrid, size, nn.Init{Std: init.Positions}),
		yPos:       d.Table(visionEmbedderPrefix+"pos_embedding.y", c.MaxGrid, size, nn.Init{Std: init.Positions}),
		norm:       d.LayerNorm(visionEmbedderPrefix+"pos_norm", size, eps),
		rms:        nn.RMSNorm{Eps: float32(c.RMSNormEps)},
		projection: d.Linear(visionProjectionPrefix+"embedding_projection", size, c.HiddenSize, false, init.linear(size)),
	}
}

// forward is patches [N, 3·P²], in row, column, channel order, → [N, D].
func (e *gemmaEmbedder) forward(g *nn.Graph, patches *nn.Tensor, places patchPlaces, trace Trace) *nn.Tensor {
	x := trace.keep(g, "vision.patch_ln1", e.ln1.Forward(g, patches))
	x = trace.keep(g, "vision.patch_dense", e.dense.Forward(g, x)) // [N, E]
	x = trace.keep(g, "vision.patch_ln2", e.ln2.Forward(g, x))
	x = trace.keep(g, "vision.pos", g.PositionLookup(x, *places.grid, g.Param(e.yPos), g.Param(e.xPos)))
	x = trace.keep(g, "vision.pos_norm", e.norm.Forward(g, x))
	x = trace.keep(g, "vision.rms", e.rms.Forward(g, x))
	return trace.keep(g, "vision.projection", e.projection.Forward(g, x))
}
