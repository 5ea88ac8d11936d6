package vlm

import (
	"math"

	"patchwork/nn"
)

// family is what the decoders of one model_type have in common.
type family struct {
	class string // transformers' class

	qkNorm        bool // queries and keys are normalised per head
	valueNorm     bool // so are values, without a weight
	qkvBias       bool // q_proj, k_proj and v_proj always have biases, o_proj has none
	postNorms     bool // a norm after attention and one after the MLP, before they are added
	unitNorms     bool // norms multiply by 1 + w, where w is what Hugging Face's files hold
	geglu         bool // the MLP is gated by GELU's tanh form instead of SiLU
	scaleEmbed    bool // embeddings of text are multiplied by √hidden size
	layerScalar   bool // a factor after every layer
	unitScale     bool // attention scores are q·k, not divided by √head size
	causalImages  bool // layers without a window are causal within images too
	nestedRoPE    bool // RoPE's settings differ between layers with and without a window
	slidingLayers bool // some layers have a window
	bfloat        bool // activations leave float16's range
}

var families = map[string]family{
	"llama": {class: "LlamaForCausalLM"},
	"qwen2": {class: "Qwen2ForCausalLM", qkvBias: true, slidingLayers: true},
	"qwen3": {class: "Qwen3ForCausalLM", qkNorm: true, slidingLayers: true},
	"gemma3_text": {
		class: "Gemma3ForCausalLM", qkNorm: true, postNorms: true, unitNorms: true, geglu: true, scaleEmbed: true,
		nestedRoPE: true, slidingLayers: true, bfloat: true,
	},
	"gemma4_unified_text": {
		class: "Gemma4UnifiedForCausalLM", qkNorm: true, valueNorm: true, postNorms: true, geglu: true, scaleEmbed: true,
		layerScalar: true, unitScale: true, causalImages: true, nestedRoPE: true, slidingLayers: true, bfloat: true,
	},
}

// Architectures are the transformers classes of decoders, by model_type.
var Architectures = func() map[string]string {
	classes := map[string]string{}
	for kind, f := range families {
		classes[kind] = f.class
	}
	return classes
}()

func (c *TextConfig) family() family { return families[c.ModelType] }

// QKNorm reports whether queries and keys are normalised per head, as in Qwen3.
func (c *TextConfig) QKNorm() bool { return c.family().qkNorm }

// UnitNorms reports whether norms multiply by 1 + w, where Hugging Face's files hold w. Parameters
// hold 1 + w.
func (c *TextConfig) UnitNorms() bool { return c.family().unitNorms }

// NeedsRange reports whether activations leave float16's range: Gemma 3's residual stream reaches
// 104,000.
func (c *TextConfig) NeedsRange() bool { return c.family().bfloat }

// EmbeddingScale is the factor of the embeddings of text.
func (c *TextConfig) EmbeddingScale() float32 {
	if !c.family().scaleEmbed {
		return 1
	}
	return float32(math.Sqrt(float64(c.HiddenSize)))
}

// LayerConfig describes a layer of the decoder.
type LayerConfig struct {
	Heads, KVHeads, HeadDim int
	Attention               int // index in AttentionKinds
	Scale                   float64
	QKVBias, OutputBias     bool
	QKNorm, ValueNorm       bool
	KeysAsValues            bool // there is no v_proj: values are what k_proj computes
	PostNorms               bool
	LayerScalar             bool
	Activation              nn.Activation
}

// Layer describes layer i.
func (c *TextConfig) Layer(i int) LayerConfig {
	f := c.family()
	l := LayerConfig{
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		QKVBias: c.AttentionBias || f.qkvBias, OutputBias: c.AttentionBias,
		QKNorm: f.qkNorm, ValueNorm: f.valueNorm, PostNorms: f.postNorms, LayerScalar: f.layerScalar,
	}
	if c.windowed(i) {
		l.Attention = 1
	} else {
		l.HeadDim, l.KVHeads, l.KeysAsValues = c.globalHeadDim(), c.globalKVHeads(), c.KeysAsValues
	}
	if f.geglu {
		l.Activation = nn.GELUTanh
	}
	switch {
	case f.unitScale:
		l.Scale = 1
	case c.QueryPreAttnScalar > 0:
		l.Scale = 1 / math.Sqrt(c.QueryPreAttnScalar)
	default:
		l.Scale = 1 / math.Sqrt(float64(l.HeadDim))
	}
	return l
}

// windowed reports whether layer i has a window.
func (c *TextConfig) windowed(i int) bool {
	return c.SlidingWindow > 0 && i < len(c.LayerTypes) && c.LayerTypes[i] == SlidingAttention
}

func (c *TextConfig) globalHeadDim() int {
	if c.GlobalHeadDim > 0 {
		return c.GlobalHeadDim
	}
	return c.HeadDim
}

func (c *TextConfig) globalKVHeads() int {
	if c.GlobalKVHeads > 0 {
		return c.GlobalKVHeads
	}
	return c.NumKeyValueHeads
}

// AttentionKind is what layers of one kind of attention share: which keys a query attends to, and
// RoPE.
type AttentionKind struct {
	HeadDim int
	// Window is how many keys a query attends to, its own included, and those after it in its image;
	// 0 = all.
	Window int
	// CausalImages: a query attends to no later token, even in its own image.
	CausalImages bool

	theta   float64
	scaling *RoPEScaling
}

// AttentionKinds are the kinds of attention of the decoder's layers: without a window, and, if
// there are such layers, with one.
func (c *TextConfig) AttentionKinds() []AttentionKind {
	kinds := []AttentionKind{{HeadDim: c.globalHeadDim(), CausalImages: c.family().causalImages, theta: c.RopeTheta, scaling: c.RopeScaling}}
	if c.SlidingWindow == 0 {
		return kinds
	}
	sliding := AttentionKind{HeadDim: c.HeadDim, Window: c.SlidingWindow, theta: c.RopeTheta, scaling: c.RopeScaling}
	if c.family().nestedRoPE {
		sliding.theta, sliding.scaling = c.SlidingRopeTheta, c.SlidingRopeScaling
	}
	return append(kinds, sliding)
}

// RoPETable returns the table of nn.RoPE: [positions, head size].
func (k AttentionKind) RoPETable(positions int) []float32 {
	angles, scale := frequencies(k.HeadDim, k.theta, k.scaling)
	return nn.RoPETable(positions, angles, scale)
}

// Intervals returns the keys that tokens attend to in layers of the kind, [n,4], given those of a
// batch: a row of rowTokens tokens each, with their positions. first is the index of the first token
// among the keys of its row. The window counts positions, which grow by one from key to key within
// the prefix and within a segment.
func (k AttentionKind) Intervals(intervals, positions []int32, rowTokens, first int) []int32 {
	if k.Window == 0 && !k.CausalImages {
		return intervals
	}
	out := make([]int32, len(intervals))
	for i, position := range positions {
		key := int32(first + i%rowTokens) // the token's own
		v := [4]int32(intervals[4*i:])
		if k.CausalImages {
			v[1], v[3] = min(v[1], key+1), min(v[3], key+1)
		}
		if k.Window > 0 {
			v[2] = max(v[2], key-int32(k.Window)+1)
			// A prefix's first key has position 0.
			v[0] = max(v[0], v[0]+position-int32(k.Window)+1)
		}
		copy(out[4*i:], v[:])
	}
	return out
}
