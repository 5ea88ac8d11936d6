package vlm

import "patchwork/nn"

// linearEmbedder is one matrix, without norms and positions, as in Fuyu.
type linearEmbedder struct{ fc nn.Linear }

func newLinearEmbedder(d nn.Declarer, c VisionConfig, init Init) *linearEmbedder {
	return &linearEmbedder{d.Linear("embedder.fc", c.Features(), c.HiddenSize, true, init.linear(c.Features()))}
}

func (e *linearEmbedder) forward(g *nn.Graph, patches *nn.Tensor, _ patchPlaces, trace Trace) *nn.Tensor {
	return trace.keep(g, "embedder.fc", e.fc.Forward(g, patches))
}

// stemEmbedder is a convolution of stride P/2, GELU and a convolution of stride 2, as in EVEv2: strides
// 16 and 2 for patches of 32. A convolution whose stride is its kernel's side is a matmul of patches.
type stemEmbedder struct {
	side         int // of a patch
	conv1, conv2 nn.Linear
}

func newStemEmbedder(d nn.Declarer, c VisionConfig, init Init) *stemEmbedder {
	quarter, hidden := c.Features()/4, c.HiddenSize
	return &stemEmbedder{
		side:  c.PatchSize,
		conv1: d.Linear("embedder.conv1", quarter, hidden, true, init.linear(quarter)),
		conv2: d.Linear("embedder.conv2", 4*hidden, hidden, true, init.linear(4*hidden)),
	}
}

func (e *stemEmbedder) forward(g *nn.Graph, patches *nn.Tensor, places patchPlaces, trace Trace) *nn.Tensor {
	n, features := patches.Shape[0], patches.Cols()
	x := g.Patchify(patches.Reshape(n, features/e.side/e.side, e.side, e.side), e.side/2) // [N, 4, C·(P/2)²]
	x = x.Reshape(4*n, features/4).RowCount(places.quarters)
	x = g.GELU(e.conv1.Forward(g, x)) // [4N, D]
	return trace.keep(g, "embedder.conv2", e.conv2.Forward(g, x.Reshape(n, 4*x.Cols()).SameRows(patches)))
}
