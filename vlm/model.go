package vlm

import (
	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
)

// Learning-rate groups.
const (
	GroupEmbedder = "embedder"
	GroupDecoder  = "decoder"
)

// Entries of the step block. Entry 0 is always 0.
const (
	slotPatches = 1 // picture patches of the batch
	slotTargets = 2 // targets of the batch
	slotScale   = 3 // f32: 1 / targets of the accumulated batch
	slotRuns    = 4 // runs of equal ids among the text tokens
	slotPast    = 5 // tokens in the key/value cache before this call
	slotTokens  = 6 // tokens of this call
	slotVectors = 7 // picture vectors before those that this call writes
	slotLoss    = 7 // f32: the loss scale
	slotAdam    = 8 // f32: three entries for each learning-rate group
)

// Init is how a model's parameters start.
type Init struct {
	FanIn     bool    `json:"fan_in"`    // Linear weights of spread 1/√inputs
	Std       float64 `json:"std"`       // Linear weights' spread otherwise
	Embedding float64 `json:"embedding"` // spread of the token embeddings
	Positions float64 `json:"positions"` // spread of the position tables
}

func (i Init) linear(inputs int) nn.Init {
	if i.FanIn {
		return nn.FanIn(inputs)
	}
	return nn.Init{Std: i.Std}
}

// Model is the network's structure and its parameters.
type Model struct {
	Config Config
	Params *nn.Params

	embedder embedder
	decoder  decoder
	most     int64 // bytes of one buffer of the device that holds the model; 0 = any
	memories []engine.Memory
}

// NewModel declares the parameters that the configuration asks for. They have
// no memory yet.
func NewModel(c Config, init Init) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: nn.NewParams()}
	if !c.Vision.None() {
		m.embedder = newEmbedder(nn.Declarer{Params: m.Params, Group: GroupEmbedder}, c.Vision, init)
	}
	m.decoder = newDecoder(nn.Declarer{Params: m.Params, Group: GroupDecoder}, c.Text, init)
	m.Params.Seal()
	return m, nil
}

// Trace receives intermediate tensors by name, so that they can be read after a
// run; nil keeps none.
type Trace map[string]*nn.Tensor

func (t Trace) keep(g *nn.Graph, name string, x *nn.Tensor) *nn.Tensor {
	if t != nil {
		t[name] = g.Keep(x)
	}
	return x
}

// hidden records everything up to the final norm: [B·T, D].
func (m *Model) hidden(g *nn.Graph, in *Inputs, trace Trace) *nn.Tensor {
	return m.hiddenIn(g, in, in.context(), trace)
}

// hiddenIn is hidden with an attention of the caller's.
func (m *Model) hiddenIn(g *nn.Graph, in *Inputs, c attentionContext, trace Trace) *nn.Tensor {
	var features *nn.Tensor
	if in.Pictures > 0 {
		g.Program.SetLabel("embedder")
		features = m.embedder.forward(g, trace.keep(g, "patches", in.patches(g)), trace)
	}
	x := trace.keep(g, "embeddings", g.Embed(in.tokens(), g.Param(m.decoder.embed), features))
	return m.decoder.forward(g, x, c, trace)
}

// loss records the forward pass and the loss of the batch's targets, and in a
// training recording every gradient.
func (m *Model) loss(g *nn.Graph, in *Inputs, trace Trace) nn.HeadLoss {
	x := m.hidden(g, in, trace)
	loss := g.HeadCrossEntropy(x, g.Param(m.decoder.head), nn.Targets{
		Rows: in.tensor(in.targetRows), IDs: in.tensor(in.targetIDs), CountSlot: slotTargets, ScaleSlot: slotScale,
	})
	g.Program.SetLabel("backward")
	g.Backward()
	return loss
}

// store chooses how activations and the weights that products read are stored. It
// is called before allocate.
func (m *Model) store(t shaders.Type) {
	if t.Half() && m.Params.Half == nil {
		m.Params.AddHalfCopy(t)
	}
}

// pack is store for a model that only runs: there is no copy of 32 bits.
func (m *Model) pack(t shaders.Type) {
	if t.Half() {
		m.Params.StoreHalf(t)
	}
}

// storage is what store chose.
func (m *Model) storage() shaders.Type {
	if m.Params.Half == nil {
		return shaders.F32
	}
	return m.Params.Half.Type
}

// allocate places the weights and, for training, the gradients and moments.
func (m *Model) allocate(dev engine.Device, train bool) error {
	m.most = dev.Info().Limits.MaxBufferBytes
	if err := m.Params.Shard(dev.Info()); err != nil {
		return err
	}
	buffers := []*engine.Buffer{m.Params.Weights}
	if m.Params.Half != nil {
		buffers = append(buffers, m.Params.Half)
	}
	if err := m.place(dev, "weights", buffers...); err != nil || !train {
		return err
	}
	if err := m.place(dev, "gradients", m.Params.Grads); err != nil {
		return err
	}
	return m.place(dev, "optimizer moments", m.Params.M, m.Params.V)
}

func (m *Model) place(dev engine.Device, what string, buffers ...*engine.Buffer) error {
	memories, err := engine.Allocate(dev, what, buffers...)
	m.memories = append(m.memories, memories...)
	return err
}

// Close gives the memory of the parameters back. Programs that use them come first.
func (m *Model) Close() {
	engine.Free(m.memories)
	m.memories = nil
}
