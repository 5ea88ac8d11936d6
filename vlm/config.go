// Package vlm is the encoder-free vision-language model: images are split into patches,
// an embedder of a few layers turns each patch into a vector, and the vectors replace the
// embeddings of placeholder tokens in the text of a small language model.
package vlm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/chat"
	"patchwork/vlm/image"
	"patchwork/vlm/packing"
)

// FormatVersion is the version of the model directory that this code writes.
const FormatVersion = 1

// ModelType is config.json's model_type.
const ModelType = "encoder_free_vlm"

// Config is config.json.
type Config struct {
	ModelType     string            `json:"model_type"`
	Vision        VisionConfig      `json:"vision_config,omitzero"` // absent: the model sees no images
	Audio         AudioConfig       `json:"audio_config,omitzero"`  // absent: the model hears nothing
	Text          TextConfig        `json:"text_config"`
	ImageTokenID  int               `json:"image_token_id,omitzero"`
	AudioTokenID  int               `json:"audio_token_id,omitzero"`
	Attention     packing.Attention `json:"attention"`
	Turns         packing.Turns     `json:"turns,omitempty"` // how training arranged them; "" = unknown
	FormatVersion int               `json:"format_version"`
	Adapter       *Adapter          `json:"adapter,omitempty"` // nil: the decoder's own weights alone
	// ImageExperts: image tokens have matrices and norms of their own in the decoder's layers. Norms of
	// heads (Qwen3, Gemma) are shared.
	ImageExperts bool `json:"image_experts,omitempty"`
}

// VisionConfig describes the embedder.
type VisionConfig struct {
	ImageSize    int     `json:"image_size"` // S: side of the square image, in pixels; 0 with MaxPatches
	PatchSize    int     `json:"patch_size"` // P: side of a patch, in pixels
	NumChannels  int     `json:"num_channels"`
	HiddenSize   int     `json:"hidden_size"`    // D
	MaxGrid      int     `json:"max_grid"`       // rows of the position tables
	LayerNormEps float64 `json:"layer_norm_eps"` // of ln2 and ln3
	PatchNormEps float64 `json:"patch_norm_eps"` // of ln1
	// MeanColors: a patch's mean color, a value for each channel, is appended to what ln1 returns,
	// which has lost it.
	MeanColors bool `json:"mean_colors,omitempty"`
	// MaxPatches above 0: images keep their aspect ratio, and have whole patches along both sides, at
	// most so many.
	MaxPatches int `json:"max_patches,omitempty"`

	// Embedder is "", this project's own, or another one of EmbedderNames.
	Embedder      string `json:"embedder,omitempty"`
	EncoderLayers int    `json:"encoder_layers,omitempty"` // of EmbedderEncoder
	EncoderHeads  int    `json:"encoder_heads,omitempty"`

	// Of Gemma's embedder; EmbedSize 0 = this project's own.
	EmbedSize  int     `json:"embed_size,omitempty"`   // E: size of the vectors before their projection
	RMSNormEps float64 `json:"rms_norm_eps,omitempty"` // of the norm before the projection
}

// Gemma reports whether the embedder is Gemma's.
func (v VisionConfig) Gemma() bool { return v.EmbedSize > 0 }

// MaxImageTokens limits the tokens of an image that keeps its aspect ratio.
const MaxImageTokens = 1 << 14

// None reports whether the model has no embedder and reads only text.
func (v VisionConfig) None() bool { return v == VisionConfig{} }

// keepPrefix begins the image size of models that keep the aspect ratio.
const keepPrefix = "keep:"

// SetImageSize sets how images are sized: "512", squares of so many pixels, or "keep:256", in their
// aspect ratio with at most so many tokens.
func (v *VisionConfig) SetImageSize(size string) error {
	text, keeps := strings.CutPrefix(size, keepPrefix)
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 1:
		return fmt.Errorf("image size %q, want a number of pixels such as 512, or keep:N for at most N tokens in the image's aspect ratio", size)
	case keeps:
		v.ImageSize, v.MaxPatches, v.MaxGrid = 0, n, n
	default:
		v.ImageSize, v.MaxPatches = n, 0
		v.MaxGrid = max(v.MaxGrid, v.Grid())
	}
	return v.Check()
}

// ImageSizeName is the size as SetImageSize reads it.
func (v VisionConfig) ImageSizeName() string {
	if v.KeepsAspect() {
		return fmt.Sprint(keepPrefix, v.MaxPatches)
	}
	return fmt.Sprint(v.ImageSize)
}

// KeepsAspect reports whether images keep their aspect ratio.
func (v VisionConfig) KeepsAspect() bool { return v.MaxPatches > 0 }

// SetImageTokens sets the tokens of an image, at most, of a model that keeps the aspect ratio.
func (v *VisionConfig) SetImageTokens(n int) error {
	switch {
	case v.None():
		return errors.New("the model takes no images")
	case !v.KeepsAspect():
		return fmt.Errorf("the model takes square images, which always have %d tokens; train with --image-size keep:N to choose", v.Patches())
	case n < 1 || n > MaxImageTokens:
		return fmt.Errorf("%d tokens an image, want 1 to %d", n, MaxImageTokens)
	}
	v.MaxPatches = n
	return nil
}

// SameButTokens reports whether two embedders differ at most in the tokens of an image.
func (v VisionConfig) SameButTokens(w VisionConfig) bool {
	if v.KeepsAspect() && w.KeepsAspect() {
		w.MaxPatches = v.MaxPatches
	}
	return v == w
}

// Grid is the number of patches along a side, at most where images keep their aspect ratio.
func (v VisionConfig) Grid() int {
	if v.KeepsAspect() {
		return min(v.MaxGrid, v.MaxPatches)
	}
	return v.ImageSize / max(1, v.PatchSize)
}

// Patches is the number of patches, and of tokens, of an image, at most where images keep their
// aspect ratio.
func (v VisionConfig) Patches() int {
	if v.KeepsAspect() {
		return v.MaxPatches
	}
	return v.Grid() * v.Grid()
}

// PixelBytes is the size of an image of Patches patches.
func (v VisionConfig) PixelBytes() int { return v.Patches() * v.Features() }

// Fit is how an image becomes pixels; the zero value if the model takes none.
func (v VisionConfig) Fit() image.Fit {
	if v.KeepsAspect() {
		return image.Fit{Patch: v.PatchSize, MaxPatches: v.MaxPatches, MaxSide: v.MaxGrid, Fill: v.Gemma()}
	}
	return image.Fit{Size: v.ImageSize, Patch: v.PatchSize}
}

// SquareGrid is the grid of a large square image.
func (v VisionConfig) SquareGrid() chat.Grid {
	side := v.Grid()
	if v.KeepsAspect() {
		side = min(side, int(math.Sqrt(float64(v.MaxPatches))))
	}
	return chat.Grid{Rows: side, Cols: side}
}

// RGB returns the pixels of an image with a grid as lines.
func (v VisionConfig) RGB(pixels []byte, g chat.Grid) *image.RGB {
	if !v.KeepsAspect() {
		return &image.RGB{W: v.ImageSize, H: v.ImageSize, Pix: pixels}
	}
	return &image.RGB{W: g.Cols * v.PatchSize, H: g.Rows * v.PatchSize, Pix: image.Unpatch(pixels, g.Rows, g.Cols, v.PatchSize)}
}

// ImageGrid returns the patches of an image of w times h pixels. The error is an *image.ShapeError.
func (v VisionConfig) ImageGrid(w, h int) (chat.Grid, error) {
	rows, cols, err := v.Fit().Grid(w, h)
	return chat.Grid{Rows: rows, Cols: cols}, err
}

// Features is the number of values of a patch: C·P².
func (v VisionConfig) Features() int { return v.NumChannels * v.PatchSize * v.PatchSize }

// EmbedderInputs is the number of inputs of the embedder's first Linear: the features and, with
// MeanColors, the channels.
func (v VisionConfig) EmbedderInputs() int {
	if v.MeanColors {
		return v.Features() + v.NumChannels
	}
	return v.Features()
}

// Check returns an error if the sizes are missing or do not fit together.
func (v VisionConfig) Check() error {
	if v.Gemma() {
		return v.checkGemma()
	}
	switch {
	case v.KeepsAspect() && (v.PatchSize < 1 || v.PatchSize > 1<<10 || v.MaxPatches > MaxImageTokens):
		return fmt.Errorf("vision_config: patch_size %d or max_patches %d is out of range, want 1 to 1024 and 1 to %d", v.PatchSize, v.MaxPatches, MaxImageTokens)
	case v.KeepsAspect() && v.ImageSize != 0:
		return fmt.Errorf("vision_config: image_size %d and max_patches %d are both set; one must be 0", v.ImageSize, v.MaxPatches)
	case v.MaxPatches < 0:
		return fmt.Errorf("vision_config: max_patches is %d, want 1 or more, or 0 for square images", v.MaxPatches)
	case !v.KeepsAspect() && (v.PatchSize < 1 || v.ImageSize < v.PatchSize || v.ImageSize%v.PatchSize != 0 || v.ImageSize > 1<<14):
		return fmt.Errorf("vision_config: image_size %d is not a multiple of patch_size %d", v.ImageSize, v.PatchSize)
	case v.NumChannels != 3:
		return fmt.Errorf("vision_config: num_channels is %d, want 3", v.NumChannels)
	case v.HiddenSize < 1:
		return fmt.Errorf("vision_config: hidden_size is %d", v.HiddenSize)
	case v.MaxGrid < max(1, v.Grid()):
		return fmt.Errorf("vision_config: max_grid %d is less than the %d patches of a side", v.MaxGrid, v.Grid())
	case v.LayerNormEps <= 0 || v.PatchNormEps <= 0:
		return fmt.Errorf("vision_config: layer_norm_eps and patch_norm_eps must be above 0")
	}
	return v.checkEmbedder()
}

func (v VisionConfig) checkGemma() error {
	switch {
	case v.PatchSize < 1 || v.PatchSize > 1<<10 || v.NumChannels != 3:
		return fmt.Errorf("vision_config: patch_size is %d and num_channels %d, want 3 channels", v.PatchSize, v.NumChannels)
	case min(v.HiddenSize, v.MaxGrid, v.MaxPatches) < 1 || max(v.EmbedSize, v.MaxGrid, v.MaxPatches) > 1<<20:
		return fmt.Errorf("vision_config: a size is missing or implausibly large")
	case v.Embedder != "" || v.EncoderLayers != 0 || v.EncoderHeads != 0:
		return fmt.Errorf("vision_config: embedder %.40q is not for a Gemma model, which has its own", v.Embedder)
	case v.LayerNormEps <= 0 || v.PatchNormEps <= 0 || v.RMSNormEps <= 0:
		return fmt.Errorf("vision_config: layer_norm_eps, patch_norm_eps and rms_norm_eps must be above 0")
	}
	return nil
}

// Check returns an error if the settings do not fit together.
func (c *Config) Check() error {
	if c.ModelType != ModelType {
		return fmt.Errorf("model_type is %q, want %q", c.ModelType, ModelType)
	}
	if c.FormatVersion != FormatVersion {
		return fmt.Errorf("format_version is %d; this vlmtool reads %d", c.FormatVersion, FormatVersion)
	}
	if err := cmp.Or(c.Adapter.Check(), c.checkExperts()); err != nil {
		return err
	}
	if c.TextOnly() {
		return nil
	}
	if err := cmp.Or(c.checkVision(), c.checkAudio()); err != nil {
		return err
	}
	return packing.Modes{Attention: c.Attention, Turns: cmp.Or(c.Turns, packing.InConversation), Loss: packing.OnAll}.Check()
}

// TextOnly reports whether the model has neither images nor sound.
func (c *Config) TextOnly() bool { return c.Vision.None() && c.Audio.None() }

func (c *Config) checkVision() error {
	if c.Vision.None() {
		return nil
	}
	if err := c.Vision.Check(); err != nil {
		return err
	}
	switch {
	case c.Vision.HiddenSize != c.Text.HiddenSize:
		return fmt.Errorf("vision_config.hidden_size is %d, text_config's is %d", c.Vision.HiddenSize, c.Text.HiddenSize)
	case c.ImageTokenID < 0 || c.ImageTokenID >= c.Text.VocabSize:
		return fmt.Errorf("image_token_id %d is outside the vocabulary of %d", c.ImageTokenID, c.Text.VocabSize)
	}
	return nil
}

func (c *Config) checkAudio() error {
	if c.Audio.None() {
		return nil
	}
	if err := c.Audio.Check(); err != nil {
		return err
	}
	switch {
	case c.Audio.HiddenSize != c.Text.HiddenSize:
		return fmt.Errorf("audio_config.hidden_size is %d, text_config's is %d", c.Audio.HiddenSize, c.Text.HiddenSize)
	case c.AudioTokenID < 0 || c.AudioTokenID >= c.Text.VocabSize:
		return fmt.Errorf("audio_token_id %d is outside the vocabulary of %d", c.AudioTokenID, c.Text.VocabSize)
	case !c.Vision.None() && c.AudioTokenID == c.ImageTokenID:
		return fmt.Errorf("image_token_id and audio_token_id are both %d", c.ImageTokenID)
	}
	return nil
}

// ReadConfig reads and checks the config.json of a model directory.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return Config{}, err
	}
	return ParseConfig(data, path)
}

// ParseConfig parses and checks a config.json; path is used in errors.
func ParseConfig(data []byte, path string) (Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case Architectures[c.ModelType] != "":
		return c, fmt.Errorf("%s: a decoder without an embedder (model_type %q); to train from it use --decoder", path, c.ModelType)
	case c.ModelType == ModelType && c.TextOnly():
		return c, fmt.Errorf("%s: vision_config is missing", path)
	}
	if c.Vision.PatchNormEps == 0 {
		c.Vision.PatchNormEps = c.Vision.LayerNormEps
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
