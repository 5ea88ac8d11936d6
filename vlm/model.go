package vlm

import (
	"errors"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
)

// Learning-rate groups.
const (
	GroupEmbedder = "embedder"
	GroupDecoder  = "decoder"
	GroupAdapter  = "adapter"
	GroupExperts  = "experts"
	GroupBuffers  = "buffers" // never trained: transformers does not either
)

// Entries of the step block. Entry 0 is always 0.
const (
	SlotPatches = 1 // image patches of the batch
	SlotTargets = 2 // targets of the batch
	SlotScale   = 3 // f32: 1 / targets of the accumulated batch
	SlotRuns    = 4 // runs of equal ids among the text tokens
	SlotFrames  = 5 // frames of sound of the batch; as SlotPast, which is of generation
	SlotPast    = 5 // tokens in the key/value cache before this call
	SlotTokens  = 6 // tokens of this call
	SlotVectors = 7 // image vectors before those that this call writes
	SlotUsed    = 8 // tokens in the key/value cache after this call, or some more
	SlotLoss    = 7 // f32: the loss scale
	SlotAdam    = 8 // f32: three entries for each learning-rate group

	SlotQuarters = 17 // quarters of image patches of the batch
	SlotOthers   = 18 // tokens of the batch that are no image patches
)

// Init are the initial distributions of a model's parameters.
type Init struct {
	FanIn     bool    `json:"fan_in"`    // Linear weights with a standard deviation of 1/√inputs
	Std       float64 `json:"std"`       // standard deviation of Linear weights otherwise
	Embedding float64 `json:"embedding"` // standard deviation of the token embeddings
	Positions float64 `json:"positions"` // standard deviation of the position tables
}

func (i Init) linear(inputs int) nn.Init {
	if i.FanIn {
		return nn.FanIn(inputs)
	}
	return nn.Init{Std: i.Std}
}

// Model is the structure and the parameters of the network.
type Model struct {
	Config Config
	Params *nn.Params

	embedder       patchEmbedder
	audio          audioEmbedder
	decoder        decoder
	cacheType      CacheType
	maxBufferBytes int64 // limit of the device, for Plan; 0 = none
	memories       []engine.Memory
}

// NewModel declares the parameters of a configuration. Allocate allocates them.
func NewModel(c Config, init Init) (*Model, error) { return newModel(c, init, false) }

// newModel is NewModel; trainBuffers makes GroupBuffers trainable, in tests of its gradients.
func newModel(c Config, init Init, trainBuffers bool) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	// A decoder that adapters leave frozen is last: what is trained is contiguous.
	m := &Model{Config: c, Params: nn.NewParams(GroupEmbedder, GroupExperts, GroupAdapter, GroupDecoder, GroupBuffers)}
	d := nn.Declarer{Params: m.Params, Group: GroupEmbedder}
	if !c.Vision.None() {
		m.embedder = newPatchEmbedder(d, c.Vision, init)
	}
	if !c.Audio.None() {
		m.audio = newAudioEmbedder(d, c.Audio, init)
	}
	m.decoder = newDecoder(nn.Declarer{Params: m.Params, Group: GroupDecoder}, c, init)
	m.Params.Seal()
	if !trainBuffers {
		m.Params.Untrained(GroupBuffers)
	}
	if c.Adapter != nil {
		m.Params.Base(GroupDecoder, GroupBuffers)
	}
	return m, nil
}

// Trace collects intermediate tensors by name, to be read after a run; nil collects none.
type Trace map[string]*nn.Tensor

func (t Trace) keep(g *nn.Graph, name string, x *nn.Tensor) *nn.Tensor {
	if t != nil {
		t[name] = g.Keep(x)
	}
	return x
}

// Hidden records the forward pass up to and including the final norm: [B·T, D].
func (m *Model) Hidden(g *nn.Graph, in *Inputs, trace Trace) *nn.Tensor {
	return m.HiddenObserved(g, in, trace, nil)
}

// HiddenObserved is Hidden with an observer of every layer; nil for none.
func (m *Model) HiddenObserved(g *nn.Graph, in *Inputs, trace Trace, observe Observer) *nn.Tensor {
	c := in.context()
	c.observe = observe
	x := trace.keep(g, "embeddings", g.Embed(in.tokens(), g.Param(m.decoder.embed), m.features(g, in, trace), m.Config.Text.EmbeddingScale()))
	return m.decoder.forward(g, x, c, trace)
}

// features are the vectors of the image slots and, from in.frameSlot on, those of the frames of
// sound: [slots, D]. They are nil for text alone.
func (m *Model) features(g *nn.Graph, in *Inputs, trace Trace) *nn.Tensor {
	var images, sound *nn.Tensor
	if in.Images > 0 {
		g.Program.SetLabel("embedder")
		images = m.embedder.forward(g, trace.keep(g, "patches", in.patches(g)), in.patchGrid.tensors(in.vision, SlotQuarters), trace)
	}
	if in.Frames > 0 {
		g.Program.SetLabel("audio embedder")
		sound = m.audio.forward(g, in.sound(), trace)
	}
	switch {
	case sound == nil:
		return images
	case images == nil:
		return sound
	}
	return g.ConcatRows(images, sound, in.frameSlot)
}

// Loss records the forward pass and the loss of the targets and, when recording for training, the
// gradients.
func (m *Model) Loss(g *nn.Graph, in *Inputs, trace Trace) nn.HeadLoss {
	loss := m.HeadLoss(g, in, m.Hidden(g, in, trace))
	g.Program.SetLabel("backward")
	g.Backward()
	return loss
}

// HeadLoss records the head and the loss of the targets, given the hidden states x [B·T, D].
func (m *Model) HeadLoss(g *nn.Graph, in *Inputs, x *nn.Tensor) nn.HeadLoss {
	return g.HeadCrossEntropy(x, g.Param(m.decoder.head), nn.Targets{
		Rows: in.tensor(in.targetRows), IDs: in.tensor(in.targetIDs), CountSlot: SlotTargets, ScaleSlot: SlotScale,
	}, float32(m.Config.Text.FinalSoftCap))
}

// Logits records the head for the hidden state x [1, D] of a token: [1, V].
func (m *Model) Logits(g *nn.Graph, x *nn.Tensor) *nn.Tensor {
	return m.capped(g, g.Logits(x, g.Param(m.decoder.head)))
}

// capped is the soft cap of logits, where the decoder has one.
func (m *Model) capped(g *nn.Graph, logits *nn.Tensor) *nn.Tensor {
	if m.Config.Text.FinalSoftCap == 0 {
		return logits
	}
	return g.SoftCap(logits, float32(m.Config.Text.FinalSoftCap))
}

// Allocate allocates the weights and, for training, the gradients and moments.
func (m *Model) Allocate(dev engine.Device, train bool) error {
	if err := errors.Join(m.checkCache(), m.checkRange()); err != nil {
		return err
	}
	m.maxBufferBytes = dev.Info().Limits.MaxBufferBytes
	if err := m.Params.Shard(dev.Info()); err != nil {
		return err
	}
	buffers := []*engine.Buffer{m.Params.Weights}
	for _, b := range []*engine.Buffer{m.Params.Half, m.Params.Blocks} {
		if b != nil && b.Bytes > 0 {
			buffers = append(buffers, b)
		}
	}
	if err := m.allocate(dev, "weights", buffers...); err != nil || !train {
		return err
	}
	if err := m.allocate(dev, "gradients", m.Params.Grads); err != nil {
		return err
	}
	return m.allocate(dev, "optimizer moments", m.Params.Moments()...)
}

// Plan plans a recorded program within the buffer limit of the device that holds the model.
func (m *Model) Plan(p *engine.Program) (*engine.Plan, error) {
	return engine.NewPlan(p, m.maxBufferBytes)
}

func (m *Model) allocate(dev engine.Device, what string, buffers ...*engine.Buffer) error {
	memories, err := engine.Allocate(dev, what, buffers...)
	m.memories = append(m.memories, memories...)
	return err
}

// Close releases the memory of the parameters. Programs that use them must be freed first.
func (m *Model) Close() {
	engine.Free(m.memories)
	m.memories = nil
}

// NoFusionOn returns nn.Options.NoFusion for a kind of device. On the CPU a dispatch costs next to
// nothing, and matmuls read the rows of fused layers more slowly: gate and up together are whole
// pages apart.
func NoFusionOn(kind string) bool { return kind == "cpu" }

// UseMuon marks the matrices between the embedding and the head of learning-rate groups for Muon.
// It is called before Allocate.
func (m *Model) UseMuon(groups ...string) {
	vocabulary := m.VocabularyParams()
	for _, p := range m.Params.All() {
		p.Muon = p.MatmulWeight && slices.Contains(groups, p.Group) && !slices.Contains(vocabulary, p)
	}
}

// VocabularyParams returns the parameters with a row per token: the embedding and, unless tied,
// the head.
func (m *Model) VocabularyParams() []*nn.Param {
	if m.decoder.head == m.decoder.embed {
		return []*nn.Param{m.decoder.embed}
	}
	return []*nn.Param{m.decoder.embed, m.decoder.head}
}
