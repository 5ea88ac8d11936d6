package vlm

import (
	"encoding/json"
	"fmt"

	"patchwork/vlm/packing"
)

// GemmaModelType is config.json's model_type of Gemma's models that see and hear without encoders.
const GemmaModelType = "gemma4_unified"

const (
	gemmaImageTokens = 280    // tokens of an image, unless set otherwise: the default of Gemma's processor
	gemmaSampleRate  = 16_000 // of sound: that of Gemma's feature extractor
	gemmaNormEps     = 1e-5   // of LayerNorms: PyTorch's default, which Gemma's code does not change
)

// gemmaParts are the parts of config.json beside the decoder's, in the spelling of the hub's files and
// in that of files that transformers 5 has written.
type gemmaParts struct {
	Vision *struct {
		ModelPatchSize int     `json:"model_patch_size"` // pixels; or both of the next
		PatchSize      int     `json:"patch_size"`
		Pooling        int     `json:"pooling_kernel_size"`
		EmbedSize      int     `json:"mm_embed_dim"`
		Positions      int     `json:"mm_posemb_size"`
		RMSNormEps     float64 `json:"rms_norm_eps"`
	} `json:"vision_config"`
	Audio *struct {
		FrameSize  int     `json:"audio_embed_dim"`
		RMSNormEps float64 `json:"rms_norm_eps"`
	} `json:"audio_config"`
	ImageTokenID int `json:"image_token_id"`
	AudioTokenID int `json:"audio_token_id"`
}

// ParseGemma parses the config.json of a model that sees and hears without encoders, all of it.
func ParseGemma(data []byte) (c Config, err error) {
	var parts gemmaParts
	if err := json.Unmarshal(data, &parts); err != nil {
		return c, err
	}
	c = Config{ModelType: ModelType, Attention: packing.Document, FormatVersion: FormatVersion, ImageTokenID: parts.ImageTokenID, AudioTokenID: parts.AudioTokenID}
	if c.Text, err = ParseText(data); err != nil {
		return c, err
	}
	if c.Text.ImagesBothWays {
		c.Attention = packing.DocumentBidirectionalImage
	}
	if v := parts.Vision; v != nil {
		side := v.ModelPatchSize
		if side == 0 {
			side = v.PatchSize * v.Pooling
		}
		if v.EmbedSize < 1 {
			return c, fmt.Errorf("vision_config: mm_embed_dim is %d, want a number above 0", v.EmbedSize)
		}
		c.Vision = VisionConfig{
			PatchSize: side, NumChannels: 3, HiddenSize: c.Text.HiddenSize, MaxGrid: v.Positions, EmbedSize: v.EmbedSize,
			MaxPatches: gemmaImageTokens, LayerNormEps: gemmaNormEps, PatchNormEps: gemmaNormEps, RMSNormEps: v.RMSNormEps,
		}
	}
	if a := parts.Audio; a != nil {
		c.Audio = AudioConfig{SampleRate: gemmaSampleRate, FrameSize: a.FrameSize, HiddenSize: c.Text.HiddenSize, RMSNormEps: a.RMSNormEps}
	}
	return c, c.Check()
}
