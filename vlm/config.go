// Package vlm is the encoder-free vision-language model: pictures become
// patches, patches become vectors, the vectors overwrite placeholders in the
// text, and a small language model learns to read them. Training, generation
// and checkpoints stand on package nn.
package vlm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/vlm/batch"
)

// formatVersion is the version of the model directory that this code writes.
const formatVersion = 1

const modelType = "encoder_free_vlm"

// Config is config.json.
type Config struct {
	ModelType     string          `json:"model_type"`
	Vision        VisionConfig    `json:"vision_config"`
	Text          TextConfig      `json:"text_config"`
	ImageTokenID  int             `json:"image_token_id"`
	Attention     batch.Attention `json:"attention"`
	FormatVersion int             `json:"format_version"`
}

// VisionConfig describes the embedder.
type VisionConfig struct {
	ImageSize    int     `json:"image_size"` // S: side of the square picture, in pixels
	PatchSize    int     `json:"patch_size"` // P: side of a patch, in pixels
	NumChannels  int     `json:"num_channels"`
	HiddenSize   int     `json:"hidden_size"`    // D
	MaxGrid      int     `json:"max_grid"`       // rows of the position tables
	LayerNormEps float64 `json:"layer_norm_eps"` // of ln2 and ln3
	PatchNormEps float64 `json:"patch_norm_eps"` // of ln1
}

// None says that the model has no embedder and reads text alone.
func (v VisionConfig) None() bool { return v == VisionConfig{} }

// Grid is the number of patches along a side.
func (v VisionConfig) Grid() int { return v.ImageSize / max(1, v.PatchSize) }

// Patches is the number of patches, and of tokens, of a picture.
func (v VisionConfig) Patches() int { return v.Grid() * v.Grid() }

// Features is the number of values of a patch: C·P².
func (v VisionConfig) Features() int { return v.NumChannels * v.PatchSize * v.PatchSize }

func (v VisionConfig) check() error {
	switch {
	case v.PatchSize < 1 || v.ImageSize < v.PatchSize || v.ImageSize%v.PatchSize != 0 || v.ImageSize > 1<<14:
		return fmt.Errorf("vision_config: image_size %d is no multiple of patch_size %d", v.ImageSize, v.PatchSize)
	case v.NumChannels != 3:
		return fmt.Errorf("vision_config: num_channels is %d, want 3", v.NumChannels)
	case v.HiddenSize < 1:
		return fmt.Errorf("vision_config: hidden_size is %d", v.HiddenSize)
	case v.MaxGrid < v.Grid():
		return fmt.Errorf("vision_config: max_grid %d is less than the %d patches of a side", v.MaxGrid, v.Grid())
	case v.LayerNormEps <= 0 || v.PatchNormEps <= 0:
		return fmt.Errorf("vision_config: layer_norm_eps and patch_norm_eps must be above 0")
	}
	return nil
}

// TextConfig is the decoder's own config.json, of a Llama or a Qwen3 model.
// Fields that this code does not read are kept.
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
	RMSNormEps            float64
	TieWordEmbeddings     bool
	AttentionBias         bool

	raw map[string]json.RawMessage
}

// QKNorm says whether queries and keys are normalised per head, as in Qwen3.
func (c *TextConfig) QKNorm() bool { return c.ModelType == "qwen3" }

// textFields is how the fields stand in the file.
type textFields struct {
	ModelType             string          `json:"model_type"`
	HiddenSize            int             `json:"hidden_size"`
	IntermediateSize      int             `json:"intermediate_size"`
	NumHiddenLayers       int             `json:"num_hidden_layers"`
	NumAttentionHeads     int             `json:"num_attention_heads"`
	NumKeyValueHeads      int             `json:"num_key_value_heads"`
	HeadDim               int             `json:"head_dim"`
	VocabSize             int             `json:"vocab_size"`
	MaxPositionEmbeddings int             `json:"max_position_embeddings"`
	RopeTheta             float64         `json:"rope_theta"`
	RMSNormEps            float64         `json:"rms_norm_eps"`
	TieWordEmbeddings     bool            `json:"tie_word_embeddings"`
	AttentionBias         bool            `json:"attention_bias"`
	HiddenAct             string          `json:"hidden_act"`
	MLPBias               bool            `json:"mlp_bias"`
	RopeScaling           json.RawMessage `json:"rope_scaling"`
	UseSlidingWindow      bool            `json:"use_sliding_window"`
	RopeParameters        *struct {
		RopeType  string  `json:"rope_type"`
		RopeTheta float64 `json:"rope_theta"`
	} `json:"rope_parameters"`
}

// UnmarshalJSON reads the fields and refuses what the decoder cannot do.
func (c *TextConfig) UnmarshalJSON(data []byte) error {
	f := textFields{RopeTheta: 1e4, RMSNormEps: 1e-6, MaxPositionEmbeddings: 2048, HiddenAct: "silu"}
	if err := json.Unmarshal(data, &c.raw); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if p := f.RopeParameters; p != nil {
		if p.RopeType != "" && p.RopeType != "default" {
			return fmt.Errorf("text_config: rope_type %q is not supported", p.RopeType)
		}
		if p.RopeTheta != 0 {
			f.RopeTheta = p.RopeTheta
		}
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
	raw := c.raw
	*c = TextConfig{f.ModelType, f.HiddenSize, f.IntermediateSize, f.NumHiddenLayers, f.NumAttentionHeads, f.NumKeyValueHeads,
		f.HeadDim, f.VocabSize, f.MaxPositionEmbeddings, f.RopeTheta, f.RMSNormEps, f.TieWordEmbeddings, f.AttentionBias, raw}
	return c.check(f)
}

func (c *TextConfig) check(f textFields) error {
	switch {
	case c.ModelType != "llama" && c.ModelType != "qwen3":
		return fmt.Errorf("text_config: model_type %q is not supported; llama and qwen3 are", c.ModelType)
	case f.HiddenAct != "silu":
		return fmt.Errorf("text_config: hidden_act %q is not supported; silu is", f.HiddenAct)
	case f.MLPBias, f.UseSlidingWindow, len(f.RopeScaling) > 0 && string(f.RopeScaling) != "null":
		return fmt.Errorf("text_config: mlp_bias, use_sliding_window and rope_scaling are not supported")
	case min(c.HiddenSize, c.IntermediateSize, c.NumHiddenLayers, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, c.VocabSize, c.MaxPositionEmbeddings) < 1:
		return fmt.Errorf("text_config: a size is missing or not above 0")
	case c.NumAttentionHeads > 1<<16 || max(c.HiddenSize, c.IntermediateSize, c.HeadDim, c.NumAttentionHeads*c.HeadDim, c.MaxPositionEmbeddings) > 1<<20 || c.VocabSize > 1<<24 || c.NumHiddenLayers > 1<<10:
		return fmt.Errorf("text_config: a size is too large to be true")
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return fmt.Errorf("text_config: %d attention heads are no multiple of %d key/value heads", c.NumAttentionHeads, c.NumKeyValueHeads)
	case c.RopeTheta <= 0 || c.RMSNormEps <= 0:
		return fmt.Errorf("text_config: rope_theta and rms_norm_eps must be above 0")
	case c.HeadDim%2 != 0:
		return fmt.Errorf("text_config: head_dim %d is odd", c.HeadDim)
	}
	return nil
}

// MarshalJSON writes the file as it was read, with the fields that this code may
// have changed.
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

// Check says what does not fit together.
func (c *Config) Check() error {
	if c.ModelType != modelType {
		return fmt.Errorf("model_type is %q, want %q", c.ModelType, modelType)
	}
	if c.FormatVersion != formatVersion {
		return fmt.Errorf("format_version is %d; this vlmtool reads %d", c.FormatVersion, formatVersion)
	}
	if c.Vision.None() {
		return nil
	}
	if err := c.Vision.check(); err != nil {
		return err
	}
	switch {
	case c.Vision.HiddenSize != c.Text.HiddenSize:
		return fmt.Errorf("vision_config.hidden_size is %d, text_config's is %d", c.Vision.HiddenSize, c.Text.HiddenSize)
	case c.ImageTokenID < 0 || c.ImageTokenID >= c.Text.VocabSize:
		return fmt.Errorf("image_token_id %d is outside the vocabulary of %d", c.ImageTokenID, c.Text.VocabSize)
	}
	return batch.Modes{Attention: c.Attention, Turns: batch.InConversation, Loss: batch.OnAll}.Check()
}

// ReadConfig reads and checks the config.json of a model directory.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case architectures[c.ModelType] != "":
		return c, fmt.Errorf("%s: a bare decoder (model_type %q); training starts from it by --decoder", path, c.ModelType)
	case c.ModelType == modelType && c.Vision.None():
		return c, fmt.Errorf("%s: it has no vision_config", path)
	}
	if c.Vision.PatchNormEps == 0 {
		c.Vision.PatchNormEps = c.Vision.LayerNormEps
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
