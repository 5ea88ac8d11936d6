package vlm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TextConfig is the decoder's config.json, of a Llama, Qwen or Gemma model. Fields that this code does
// not read are preserved. Layer describes each layer.
type TextConfig struct {
	ModelType             string
	HiddenSize            int
	IntermediateSize      int
	NumHiddenLayers       int
	NumAttentionHeads     int
	NumKeyValueHeads      int
	HeadDim               int
	VocabSize             int
	MaxPositionEmbeddings int
	RopeTheta             float64
	RopeScaling           *RoPEScaling // nil: none
	RMSNormEps            float64
	TieWordEmbeddings     bool
	AttentionBias         bool

	// Layers with a window, or without one, that differ from the others.
	LayerTypes         []string // "full_attention" or "sliding_attention"; nil = all full
	SlidingWindow      int      // keys that a query attends to in layers of sliding attention; 0 = all
	SlidingRopeTheta   float64
	SlidingRopeScaling *RoPEScaling
	GlobalHeadDim      int // of layers without a window; 0 = HeadDim
	GlobalKVHeads      int // 0 = NumKeyValueHeads

	KeysAsValues       bool    // layers without a window have no v_proj
	QueryPreAttnScalar float64 // attention scores are divided by its root; 0 = the head size
	FinalSoftCap       float64 // logits are FinalSoftCap·tanh(logits/FinalSoftCap); 0 = none
	ImagesBothWays     bool    // tokens of an image attend to each other in layers with a window

	raw map[string]json.RawMessage
}

// textFields are the fields of config.json.
type textFields struct {
	ModelType             string   `json:"model_type"`
	HiddenSize            int      `json:"hidden_size"`
	IntermediateSize      int      `json:"intermediate_size"`
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	NumKeyValueHeads      int      `json:"num_key_value_heads"`
	HeadDim               int      `json:"head_dim"`
	VocabSize             int      `json:"vocab_size"`
	MaxPositionEmbeddings int      `json:"max_position_embeddings"`
	RMSNormEps            float64  `json:"rms_norm_eps"`
	TieWordEmbeddings     bool     `json:"tie_word_embeddings"`
	AttentionBias         bool     `json:"attention_bias"`
	HiddenAct             string   `json:"hidden_act"`
	HiddenActivation      string   `json:"hidden_activation"`
	MLPBias               bool     `json:"mlp_bias"`
	UseSlidingWindow      *bool    `json:"use_sliding_window"`
	SlidingWindow         *int     `json:"sliding_window"`
	MaxWindowLayers       *int     `json:"max_window_layers"`
	LayerTypes            []string `json:"layer_types"`
	ropeFields
}

// UnmarshalJSON reads the fields and returns an error for settings that the decoder does
// not support.
func (c *TextConfig) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	var kind struct {
		ModelType string `json:"model_type"`
	}
	_ = json.Unmarshal(data, &kind) // an error is also the next one's
	f := defaultText(kind.ModelType)
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.NumKeyValueHeads == 0 {
		f.NumKeyValueHeads = f.NumAttentionHeads
	}
	if f.HeadDim == 0 && f.NumAttentionHeads > 0 {
		f.HeadDim = f.HiddenSize / f.NumAttentionHeads
	}
	*c = TextConfig{
		ModelType: f.ModelType, HiddenSize: f.HiddenSize, IntermediateSize: f.IntermediateSize, NumHiddenLayers: f.NumHiddenLayers,
		NumAttentionHeads: f.NumAttentionHeads, NumKeyValueHeads: f.NumKeyValueHeads, HeadDim: f.HeadDim, VocabSize: f.VocabSize,
		MaxPositionEmbeddings: f.MaxPositionEmbeddings, RMSNormEps: f.RMSNormEps,
		TieWordEmbeddings: f.TieWordEmbeddings, AttentionBias: f.AttentionBias, raw: raw,
	}
	if err := c.check(f); err != nil {
		return err
	}
	if c.family().nestedRoPE {
		return c.readGemma(data, f)
	}
	var err error
	c.RopeTheta, c.RopeScaling, err = f.rope(c, c.HeadDim)
	return err
}

// defaultText are transformers' defaults of a model type.
func defaultText(kind string) textFields {
	f := textFields{RMSNormEps: 1e-6, MaxPositionEmbeddings: 2048, HiddenAct: "silu"}
	switch kind {
	case "qwen2":
		f.MaxPositionEmbeddings = 32768
	case "qwen3":
		f.MaxPositionEmbeddings, f.HeadDim = 32768, 128
	case "gemma3_text":
		f.HiddenSize, f.IntermediateSize, f.NumHiddenLayers, f.NumAttentionHeads, f.NumKeyValueHeads, f.HeadDim = 2304, 9216, 26, 8, 4, 256
		f.VocabSize, f.MaxPositionEmbeddings, f.TieWordEmbeddings, f.HiddenActivation = 262208, 131072, true, geluTanh
	case "gemma4_unified_text":
		f.MaxPositionEmbeddings, f.TieWordEmbeddings, f.HiddenActivation = 131072, true, geluTanh
	}
	return f
}

func (c *TextConfig) check(f textFields) error {
	switch {
	case families[c.ModelType].class == "":
		return fmt.Errorf("text_config: model_type %.40q is not supported; %s are", c.ModelType, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
	case c.family().geglu && f.HiddenActivation != geluTanh:
		return fmt.Errorf("text_config: hidden_activation %.40q is not supported for a %s decoder; %s is", f.HiddenActivation, c.ModelType, geluTanh)
	case !c.family().geglu && f.HiddenAct != "silu" && f.HiddenAct != "swish":
		return fmt.Errorf("text_config: hidden_act %q is not supported; silu is", f.HiddenAct)
	case c.ModelType == "qwen2" && c.AttentionBias:
		return fmt.Errorf("text_config: attention_bias is not supported for a qwen2 decoder, whose o_proj has no bias")
	case f.MLPBias:
		return fmt.Errorf("text_config: mlp_bias is not supported: the MLP of a %s has no biases here", c.ModelType)
	case min(c.HiddenSize, c.IntermediateSize, c.NumHiddenLayers, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, c.VocabSize, c.MaxPositionEmbeddings) < 1:
		return fmt.Errorf("text_config: a size is missing or not above 0")
	case c.NumAttentionHeads > 1<<16 || max(c.HiddenSize, c.IntermediateSize, c.HeadDim, c.NumAttentionHeads*c.HeadDim) > 1<<20 || c.MaxPositionEmbeddings > 1<<24 || c.VocabSize > 1<<24 || c.NumHiddenLayers > 1<<10:
		return fmt.Errorf("text_config: a size is implausibly large")
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return fmt.Errorf("text_config: %d attention heads are not a multiple of %d key/value heads", c.NumAttentionHeads, c.NumKeyValueHeads)
	case c.RMSNormEps <= 0:
		return fmt.Errorf("text_config: rms_norm_eps must be above 0")
	case c.HeadDim%2 != 0:
		return fmt.Errorf("text_config: head_dim %d is odd", c.HeadDim)
	}
	if !c.family().nestedRoPE {
		if err := c.readWindow(f); err != nil {
			return err
		}
	}
	return c.checkKeys()
}

// The types of layers in config.json's layer_types: with a window, and without.
const (
	SlidingAttention = "sliding_attention"
	FullAttention    = "full_attention"
)

const geluTanh = "gelu_pytorch_tanh"

// readWindow sets which layers' attention has a window smaller than the context. It returns an error
// for a Llama with one, which transformers does not have.
func (c *TextConfig) readWindow(f textFields) error {
	qwen := c.family().slidingLayers
	windowed := f.SlidingWindow != nil && *f.SlidingWindow < c.MaxPositionEmbeddings
	if qwen && f.SlidingWindow == nil {
		windowed = 4096 < c.MaxPositionEmbeddings // transformers' default
	}
	if f.UseSlidingWindow != nil {
		windowed = windowed && *f.UseSlidingWindow
	} else if qwen {
		windowed = false // use_sliding_window is false by default
	}
	types := f.LayerTypes
	if len(types) == 0 {
		first := 0 // the first layer with a window
		if qwen {
			first = 28 // transformers' default
			if f.MaxWindowLayers != nil {
				first = *f.MaxWindowLayers
			}
		}
		types = slices.Repeat([]string{SlidingAttention}, c.NumHiddenLayers)
		for i := range min(max(first, 0), c.NumHiddenLayers) {
			types[i] = FullAttention
		}
	}
	if err := checkLayerTypes(types, c.NumHiddenLayers); err != nil {
		return err
	}
	at := slices.Index(types, SlidingAttention)
	switch {
	case !windowed || at < 0:
		return nil
	case !qwen:
		return fmt.Errorf("text_config: sliding_window: layer %d attends to only part of the context of %d tokens, which is not supported for a %s decoder", at, c.MaxPositionEmbeddings, c.ModelType)
	}
	c.LayerTypes, c.SlidingWindow = types, 4096 // transformers' default
	if f.SlidingWindow != nil {
		c.SlidingWindow = *f.SlidingWindow
	}
	return c.checkWindow()
}

// checkWindow returns an error for a window that is not above 0.
func (c *TextConfig) checkWindow() error {
	if c.SlidingWindow < 1 {
		return fmt.Errorf("text_config: sliding_window is %d, want a number above 0", c.SlidingWindow)
	}
	return nil
}

// checkLayerTypes returns an error for a type that is not supported, or too few of them.
func checkLayerTypes(types []string, layers int) error {
	for i, kind := range types {
		if kind != FullAttention && kind != SlidingAttention {
			return fmt.Errorf("text_config: layer %d is of type %.40q (layer_types); %s and %s are supported", i, kind, FullAttention, SlidingAttention)
		}
	}
	if len(types) != layers {
		return fmt.Errorf("text_config: layer_types has %d entries, want one for each of %d layers", len(types), layers)
	}
	return nil
}

// significantKeys match settings that change what a decoder computes.
var significantKeys = regexp.MustCompile(`rope|rotary|scal|window|softcap|norm|multiplier|alibi|clamp|clip_qkv|sink`)

// supportedKeys are the significant keys that are read.
var supportedKeys = []string{
	"rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "sliding_window", "use_sliding_window", "max_window_layers",
	"partial_rotary_factor",
}

// gemmaKeys are those of Gemma's decoders.
var gemmaKeys = []string{
	"query_pre_attn_scalar", "final_logit_softcapping", "rope_local_base_freq", "sliding_window_pattern", "_sliding_window_pattern",
}

// checkKeys returns an error for a significant setting that is not read, unless its value
// is neutral.
func (c *TextConfig) checkKeys() error {
	for _, key := range slices.Sorted(maps.Keys(c.raw)) {
		if !significantKeys.MatchString(key) || slices.Contains(supportedKeys, key) || c.family().nestedRoPE && slices.Contains(gemmaKeys, key) {
			continue
		}
		if !isNeutral(key, c.raw[key], c.HeadDim) {
			return fmt.Errorf("text_config: %.60q is %.60s, which is not supported for a %s decoder", key, Compact(c.raw[key]), c.ModelType)
		}
	}
	return nil
}

// Compact formats a JSON value on one line, for messages.
func Compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

var (
	factorKey = regexp.MustCompile(`scal|multiplier|factor`)
	limitKey  = regexp.MustCompile(`softcap|window|clamp|clip_qkv|sink`)
)

// isNeutral reports whether a setting has a value that changes nothing.
func isNeutral(key string, raw json.RawMessage, headDim int) bool {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case float64:
		return key == "query_pre_attn_scalar" && v == float64(headDim) || factorKey.MatchString(key) && v == 1 || limitKey.MatchString(key) && v == 0
	}
	return false
}

// decimal is a number with a decimal point, which transformers wants in fields of type float.
func decimal(x float64) json.Number {
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

// DecodeFields decodes the fields of a JSON object, and keeps numbers as they are written: 30.0 is no 30.
func DecodeFields(data []byte) (fields map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return fields, d.Decode(&fields)
}

// MarshalJSON writes the file as it was read, with the fields that this code may change.
func (c TextConfig) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	for k, v := range c.raw {
		out[k] = v
	}
	if c.family().nestedRoPE {
		out["model_type"], out["vocab_size"], out["tie_word_embeddings"] = c.ModelType, c.VocabSize, c.TieWordEmbeddings
		if c.FinalSoftCap > 0 {
			out["final_logit_softcapping"] = decimal(c.FinalSoftCap)
		}
		return json.Marshal(out)
	}
	for k, v := range map[string]any{
		"model_type": c.ModelType, "hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize,
		"num_hidden_layers": c.NumHiddenLayers, "num_attention_heads": c.NumAttentionHeads,
		"num_key_value_heads": c.NumKeyValueHeads, "head_dim": c.HeadDim, "vocab_size": c.VocabSize,
		"max_position_embeddings": c.MaxPositionEmbeddings, "rope_theta": c.RopeTheta, "rms_norm_eps": c.RMSNormEps,
		"tie_word_embeddings": c.TieWordEmbeddings, "attention_bias": c.AttentionBias, "hidden_act": "silu",
	} {
		out[k] = v
	}
	return json.Marshal(out)
}
