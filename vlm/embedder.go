package vlm

import "patchwork/nn"

// patchEmbedder is an embedder with its connector: patches [N, C·P²] → [N, D].
type patchEmbedder interface {
	forward(g *nn.Graph, patches *nn.Tensor, places patchPlaces, trace Trace) *nn.Tensor
}

func newPatchEmbedder(d nn.Declarer, c VisionConfig, init Init) patchEmbedder {
	switch {
	case c.Gemma():
		return newGemmaEmbedder(d, c, init)
	case c.Embedder == EmbedderLinear:
		return newLinearEmbedder(d, c, init)
	case c.Embedder == EmbedderStem:
		return newStemEmbedder(d, c, init)
	case c.Embedder == EmbedderEncoder:
		return newEncoder(d, c, init)
	}
	return newEmbedder(d, c, init)
}

// embedder turns patches into vectors of the decoder's hidden size, without an encoder.
type embedder struct {
	grid       int // patches along a side
	channels   int // whose means are inputs of fc; 0 = none
	ln1        nn.LayerNorm
	fc         nn.Linear
	ln2        nn.LayerNorm
	yPos, xPos *nn.Param
	ln3        nn.LayerNorm
	connector  nn.Linear
}

func newEmbedder(d nn.Declarer, c VisionConfig, init Init) *embedder {
	eps := float32(c.LayerNormEps)
	e := &embedder{
		grid:      c.Grid(),
		ln1:       d.LayerNorm("embedder.ln1", c.Features(), float32(c.PatchNormEps)),
		fc:        d.Linear("embedder.fc", c.EmbedderInputs(), c.HiddenSize, true, init.linear(c.EmbedderInputs())),
		ln2:       d.LayerNorm("embedder.ln2", c.HiddenSize, eps),
		yPos:      d.Table("embedder.y_pos_emb", c.MaxGrid, c.HiddenSize, nn.Init{Std: init.Positions}),
		xPos:      d.Table("embedder.x_pos_emb", c.MaxGrid, c.HiddenSize, nn.Init{Std: init.Positions}),
		ln3:       d.LayerNorm("embedder.ln3", c.HiddenSize, eps),
		connector: d.Linear("connector", c.HiddenSize, c.HiddenSize, true, init.linear(c.HiddenSize)),
	}
	if c.MeanColors {
		e.channels = c.NumChannels
	}
	return e
}

// forward is the embedder and the connector: patches [N·256, 3072] → [N·256, D].
func (e *embedder) forward(g *nn.Graph, patches *nn.Tensor, places patchPlaces, trace Trace) *nn.Tensor {
	x := trace.keep(g, "embedder.ln1", e.normalize(g, patches)) // [N·256, 3072], or 3075 with mean colors
	x = trace.keep(g, "embedder.fc", e.fc.Forward(g, x))        // [N·256, D]
	x = trace.keep(g, "embedder.ln2", e.ln2.Forward(g, x))
	x = trace.keep(g, "embedder.pos", e.addPositions(g, x, places.grid))
	x = trace.keep(g, "embedder.ln3", e.ln3.Forward(g, x))
	return trace.keep(g, "connector", e.connector.Forward(g, x))
}

// addPositions adds the position embeddings of each patch's row and column.
func (e *embedder) addPositions(g *nn.Graph, x *nn.Tensor, grid *nn.PatchGrid) *nn.Tensor {
	if grid != nil {
		return g.PositionLookup(x, *grid, g.Param(e.yPos), g.Param(e.xPos))
	}
	return g.PositionAdd(x, g.Param(e.yPos), g.Param(e.xPos), e.grid, e.grid)
}

// normalize is ln1 and, if the model has them, the mean colors after it.
func (e *embedder) normalize(g *nn.Graph, patches *nn.Tensor) *nn.Tensor {
	if e.channels == 0 {
		return e.ln1.Forward(g, patches)
	}
	return g.AppendMeans(e.ln1.ForwardFloat32(g, patches), patches, e.channels)
}
