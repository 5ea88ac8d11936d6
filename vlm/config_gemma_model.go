package vlm

import (
	"encoding/json"
	"fmt"

	"patchwork/vlm/packing"
)

// GemmaModelType is config.json's model_type of Gemma's models that see and hear without encoders.
const GemmaModelType = "gemma4_unified"

// gemmaTextType is the model_type of their decoders.
const gemmaTextType = GemmaModelType + "_text"

const (
	gemmaImageTokens = 280    // tokens of an image, unless set otherwise: the default of Gemma's processor
	gemmaSampleRate  = 16_000 // of sound: that of Gemma's feature extractor
	gemmaNormEps     = 1e-5   // of LayerNorms: PyTorch's default, which Gemma's code does not change
)

// gemmaParts are the parts of config.json beside the decoder's, in the spelling of the hub's files and
// in that of files that transformers 5 has written.
type gemmaParts struct {
	Vision       json.RawMessage `json:"vision_config"`
	Audio        json.RawMessage `json:"audio_config"`
	ImageTokenID int             `json:"image_token_id"`
	AudioTokenID int             `json:"audio_token_id"`
}

// gemmaVision is vision_config.
type gemmaVision struct {
	ModelPatchSize int     `json:"model_patch_size"` // pixels; or both of the next
	PatchSize      int     `json:"patch_size"`
	Pooling        int     `json:"pooling_kernel_size"`
	EmbedSize      int     `json:"mm_embed_dim"`
	Positions      int     `json:"mm_posemb_size"`
	RMSNormEps     float64 `json:"rms_norm_eps"`
}

// gemmaAudio is audio_config.
type gemmaAudio struct {
	FrameSize  int     `json:"audio_embed_dim"`
	RMSNormEps float64 `json:"rms_norm_eps"`
}

// Transformers' defaults.
var (
	defaultGemmaParts  = gemmaParts{ImageTokenID: 258_880, AudioTokenID: 258_881}
	defaultGemmaVision = gemmaVision{PatchSize: 16, Pooling: 3, EmbedSize: 3840, Positions: 1120, RMSNormEps: 1e-6}
	defaultGemmaAudio  = gemmaAudio{FrameSize: 640, RMSNormEps: 1e-6}
)

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// ParseGemma parses the config.json of a model that sees and hears without encoders, all of it.
func ParseGemma(data []byte) (c Config, err error) {
	parts := defaultGemmaParts
	if err := json.Unmarshal(data, &parts); err != nil {
		return c, err
	}
	text, err := ParseText(data)
	if err != nil {
		return c, err
	}
	return parts.with(text)
}

// WithGemmaParts is the configuration of a decoder with the embedders that fields of a Gemma 4's
// config.json describe.
func WithGemmaParts(text TextConfig, fields map[string]any) (c Config, err error) {
	parts := defaultGemmaParts
	data, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(data, &parts)
	}
	if err != nil {
		return c, err
	}
	return parts.with(text)
}

// with is the configuration of a decoder with the embedders.
func (parts gemmaParts) with(text TextConfig) (Config, error) {
	c := Config{ModelType: ModelType, Text: text, Attention: packing.Document, FormatVersion: FormatVersion, ImageTokenID: parts.ImageTokenID, AudioTokenID: parts.AudioTokenID}
	if c.Text.ImagesBothWays {
		c.Attention = packing.DocumentBidirectionalImage
	}
	if err := c.readGemmaVision(parts.Vision); err != nil {
		return c, err
	}
	if err := c.readGemmaAudio(parts.Audio); err != nil {
		return c, err
	}
	return c, c.Check()
}

func (c *Config) readGemmaVision(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	v := defaultGemmaVision
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("vision_config: %w", err)
	}
	side := v.ModelPatchSize
	if side == 0 {
		side = v.PatchSize * v.Pooling
	}
	if v.EmbedSize < 1 {
		return fmt.Errorf("vision_config: mm_embed_dim is %d, want a number above 0", v.EmbedSize)
	}
	c.Vision = VisionConfig{
		PatchSize: side, NumChannels: 3, HiddenSize: c.Text.HiddenSize, MaxGrid: v.Positions, EmbedSize: v.EmbedSize,
		MaxPatches: gemmaImageTokens, LayerNormEps: gemmaNormEps, PatchNormEps: gemmaNormEps, RMSNormEps: v.RMSNormEps,
	}
	return nil
}

func (c *Config) readGemmaAudio(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	a := defaultGemmaAudio
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("audio_config: %w", err)
	}
	c.Audio = AudioConfig{SampleRate: gemmaSampleRate, FrameSize: a.FrameSize, HiddenSize: c.Text.HiddenSize, RMSNormEps: a.RMSNormEps}
	return nil
}

// IsGemma reports whether the decoder and all embedders are Gemma 4's, so that Hugging Face's layout of
// it can hold the model.
func (c *Config) IsGemma() bool {
	a := c.Audio
	return c.Text.ModelType == gemmaTextType && !c.TextOnly() && (c.Vision.None() || c.Vision.Gemma()) &&
		(a.None() || a.SampleRate == gemmaSampleRate && a.Hop() == a.FrameSize)
}

// GemmaFields are the fields of a Gemma 4's config.json as ParseGemma reads them.
func (c *Config) GemmaFields() (map[string]any, error) {
	data, err := json.Marshal(c.Text)
	if err != nil {
		return nil, err
	}
	text, err := DecodeFields(data)
	if err != nil {
		return nil, err
	}
	if c.Attention != packing.DocumentBidirectionalImage {
		text["use_bidirectional_attention"] = nil
	}
	out := map[string]any{
		"model_type": GemmaModelType, "architectures": []string{"Gemma4UnifiedForConditionalGeneration"}, "text_config": text,
		"vision_config": nil, "audio_config": nil, "tie_word_embeddings": c.Text.TieWordEmbeddings,
	}
	if v := c.Vision; !v.None() {
		patch, pooling := v.PatchSize, 1
		if n := defaultGemmaVision.Pooling; patch%n == 0 {
			patch, pooling = patch/n, n
		}
		out["image_token_id"], out["vision_config"] = c.ImageTokenID, map[string]any{
			"model_type": GemmaModelType + "_vision", "model_patch_size": v.PatchSize, "patch_size": patch, "pooling_kernel_size": pooling,
			"mm_embed_dim": v.EmbedSize, "output_proj_dims": v.EmbedSize, "mm_posemb_size": v.MaxGrid, "rms_norm_eps": v.RMSNormEps,
		}
	}
	if a := c.Audio; !a.None() {
		out["audio_token_id"], out["audio_config"] = c.AudioTokenID, map[string]any{
			"model_type": GemmaModelType + "_audio", "audio_embed_dim": a.FrameSize, "rms_norm_eps": a.RMSNormEps,
		}
	}
	return out, nil
}
