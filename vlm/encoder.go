package vlm

import (
	"fmt"
	"math"

	"patchwork/nn"
)

// encoder is a vision transformer in front of the connector, as SigLIP's (Zhai et al. 2023), with a
// table of positions for rows and one for columns.
type encoder struct {
	grid       int // patches along a side
	patch      nn.Linear
	yPos, xPos *nn.Param
	layers     []encoderLayer
	norm       nn.LayerNorm
	connector  nn.Linear
}

// encoderLayer is a pre-norm block whose attention is over the patches of an image.
type encoderLayer struct {
	heads        int
	norm1, norm2 nn.LayerNorm
	q, k, v, o   nn.Linear
	fc1, fc2     nn.Linear
}

func newEncoder(d nn.Declarer, c VisionConfig, init Init) *encoder {
	eps, size := float32(c.LayerNormEps), c.HiddenSize
	e := &encoder{
		grid:  c.Grid(),
		patch: d.Linear("encoder.patch_embedding", c.Features(), size, true, init.linear(c.Features())),
		yPos:  d.Table("encoder.y_pos_emb", c.MaxGrid, size, nn.Init{Std: init.Positions}),
		xPos:  d.Table("encoder.x_pos_emb", c.MaxGrid, size, nn.Init{Std: init.Positions}),
	}
	for i := range c.EncoderLayers {
		e.layers = append(e.layers, newEncoderLayer(d, c, fmt.Sprintf("encoder.layers.%d.", i), init))
	}
	e.norm = d.LayerNorm("encoder.post_layernorm", size, eps)
	e.connector = d.Linear("connector", size, size, true, init.linear(size))
	return e
}

func newEncoderLayer(d nn.Declarer, c VisionConfig, name string, init Init) encoderLayer {
	eps, size := float32(c.LayerNormEps), c.HiddenSize
	linear := func(part string, in, out int) nn.Linear { return d.Linear(name+part, in, out, true, init.linear(in)) }
	return encoderLayer{
		heads: c.EncoderHeads,
		norm1: d.LayerNorm(name+"layer_norm1", size, eps), norm2: d.LayerNorm(name+"layer_norm2", size, eps),
		q: linear("self_attn.q_proj", size, size), k: linear("self_attn.k_proj", size, size), v: linear("self_attn.v_proj", size, size),
		o:   linear("self_attn.out_proj", size, size),
		fc1: linear("mlp.fc1", size, encoderMLP*size), fc2: linear("mlp.fc2", encoderMLP*size, size),
	}
}

// encoderMLP is the width of an encoder's MLP as a multiple of its hidden size.
const encoderMLP = 4

func (e *encoder) forward(g *nn.Graph, patches *nn.Tensor, places patchPlaces, trace Trace) *nn.Tensor {
	x := e.patch.Forward(g, patches) // [N·L, D]
	x = g.Float32(g.PositionAdd(x, g.Param(e.yPos), g.Param(e.xPos), e.grid, e.grid))
	for i, l := range e.layers {
		x = trace.keep(g, fmt.Sprintf("encoder.layer.%d", i), l.forward(g, x, e.grid*e.grid, places))
	}
	return trace.keep(g, "connector", e.connector.Forward(g, e.norm.Forward(g, x)))
}

func (l *encoderLayer) forward(g *nn.Graph, x *nn.Tensor, patches int, places patchPlaces) *nn.Tensor {
	rows, size := x.Shape[0], x.Cols()
	h := l.norm1.Forward(g, x)
	split := func(part nn.Linear) *nn.Tensor {
		return part.Forward(g, h).Reshape(rows/patches, patches, l.heads, size/l.heads)
	}
	y := g.ImageAttention(split(l.q), split(l.k), split(l.v), places.intervals, 1/math.Sqrt(float64(size/l.heads)))
	x = l.o.ForwardAdd(g, y.Reshape(rows, size).SameRows(x), x)
	return l.fc2.ForwardAdd(g, g.GELU(l.fc1.Forward(g, l.norm2.Forward(g, x))), x)
}
