package vlm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// TextConfig is the decoder's config.json, of a Llama or Qwen3 model. Fields that this code does
// not read are preserved.
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

	raw map[string]json.RawMessage
}

// QKNorm reports whether queries and keys are normalised per head, as in Qwen3.
func (c *TextConfig) QKNorm() bool { return c.ModelType == "qwen3" }

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
	f := textFields{RMSNormEps: 1e-6, MaxPositionEmbeddings: 2048, HiddenAct: "silu"}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	var kind struct {
		ModelType string `json:"model_type"`
	}
	if json.Unmarshal(data, &kind) == nil && kind.ModelType == "qwen3" {
		f.MaxPositionEmbeddings = 32768 // transformers' default, as are the others
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.NumKeyValueHeads == 0 {
		f.NumKeyValueHeads = f.NumAttentionHeads
	}
	if f.HeadDim == 0 && f.ModelType == "qwen3" {
		f.HeadDim = 128 // transformers' default for Qwen3, whatever the hidden size
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
	var err error
	c.RopeTheta, c.RopeScaling, err = f.rope(c)
	return err
}

func (c *TextConfig) check(f textFields) error {
	switch {
	case c.ModelType != "llama" && c.ModelType != "qwen3":
		return fmt.Errorf("text_config: model_type %q is not supported; llama and qwen3 are", c.ModelType)
	case f.HiddenAct != "silu" && f.HiddenAct != "swish":
		return fmt.Errorf("text_config: hidden_act %q is not supported; silu is", f.HiddenAct)
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
	if err := c.checkWindow(f); err != nil {
		return err
	}
	return c.checkKeys()
}

// checkWindow returns an error if a layer's attention has a window smaller than the context.
func (c *TextConfig) checkWindow(f textFields) error {
	windowed := f.SlidingWindow != nil && *f.SlidingWindow < c.MaxPositionEmbeddings
	if c.ModelType == "qwen3" && f.SlidingWindow == nil {
		windowed = 4096 < c.MaxPositionEmbeddings // transformers' default
	}
	if f.UseSlidingWindow != nil {
		windowed = windowed && *f.UseSlidingWindow
	} else if c.ModelType == "qwen3" {
		windowed = false // use_sliding_window is false by default
	}
	if len(f.LayerTypes) > 0 {
		for i, kind := range f.LayerTypes {
			switch {
			case kind == "sliding_attention" && windowed:
				return fmt.Errorf("text_config: layer %d has sliding-window attention (layer_types, sliding_window), which is not supported", i)
			case kind != "full_attention" && kind != "sliding_attention":
				return fmt.Errorf("text_config: layer %d is of type %.40q (layer_types); full_attention is supported", i, kind)
			}
		}
		return nil
	}
	first := 0 // the first layer with a window
	if c.ModelType == "qwen3" {
		first = 28 // transformers' default
		if f.MaxWindowLayers != nil {
			first = *f.MaxWindowLayers
		}
	}
	if windowed && first < c.NumHiddenLayers {
		return fmt.Errorf("text_config: sliding_window: layers from %d on attend to only part of the context of %d tokens, which is not supported", first, c.MaxPositionEmbeddings)
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

// checkKeys returns an error for a significant setting that is not read, unless its value
// is neutral.
func (c *TextConfig) checkKeys() error {
	for _, key := range slices.Sorted(maps.Keys(c.raw)) {
		if !significantKeys.MatchString(key) || slices.Contains(supportedKeys, key) {
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

// MarshalJSON writes the file as it was read, with the fields that this code may change.
func (c TextConfig) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	for k, v := range c.raw {
		out[k] = v
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

// Architectures are the transformers classes of decoders, by model_type.
var Architectures = map[string]string{"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
