package vlm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The values of VisionConfig.Embedder besides "", this project's own. Those of other systems are here to
// be compared with it.
const (
	EmbedderLinear  = "linear"  // one matrix, without norms and positions (Fuyu)
	EmbedderStem    = "stem"    // two convolutions, of strides P/2 and 2 (EVEv2)
	EmbedderEncoder = "encoder" // a vision transformer (SigLIP)
)

// EmbedderNorms is the name of this project's own embedder on the command line.
const EmbedderNorms = "norms"

// EmbedderNames are the names that SetEmbedder takes.
var EmbedderNames = []string{EmbedderNorms, EmbedderLinear, EmbedderStem, EmbedderEncoder}

// SetEmbedder sets the embedder by its name. An encoder has four layers with heads of 32 columns,
// unless the configuration says otherwise.
func (v *VisionConfig) SetEmbedder(name string) {
	if v.Embedder = name; name == EmbedderNorms {
		v.Embedder = ""
	}
	if name != EmbedderEncoder {
		v.EncoderLayers, v.EncoderHeads = 0, 0
		return
	}
	if v.EncoderLayers == 0 {
		v.EncoderLayers, v.EncoderHeads = 4, max(1, v.HiddenSize/32)
	}
}

func (v VisionConfig) checkEmbedder() error {
	encoder := v.Embedder == EmbedderEncoder
	switch {
	case v.Embedder == EmbedderNorms || v.Embedder != "" && !slices.Contains(EmbedderNames, v.Embedder):
		return fmt.Errorf("vision_config: embedder %.40q is not known; want %s, or none for this project's own", v.Embedder, strings.Join(EmbedderNames[1:], ", "))
	case v.MeanColors && v.Embedder != "":
		return fmt.Errorf("vision_config: mean_colors is not for the %s embedder, which keeps them", v.Embedder)
	case v.Embedder == EmbedderStem && v.PatchSize%2 != 0:
		return fmt.Errorf("vision_config: patch_size %d is odd; the stem embedder halves it", v.PatchSize)
	case encoder && v.KeepsAspect():
		return errors.New("vision_config: the encoder embedder takes square images only; max_patches must be 0")
	case encoder && (v.EncoderLayers < 1 || v.EncoderLayers > 1<<10):
		return fmt.Errorf("vision_config: encoder_layers is %d, want 1 to 1024", v.EncoderLayers)
	case encoder && (v.EncoderHeads < 1 || v.HiddenSize%v.EncoderHeads != 0 || v.HiddenSize/v.EncoderHeads%2 != 0):
		return fmt.Errorf("vision_config: encoder_heads is %d, want a number that divides hidden_size %d into even parts", v.EncoderHeads, v.HiddenSize)
	case !encoder && (v.EncoderLayers != 0 || v.EncoderHeads != 0):
		return errors.New("vision_config: encoder_layers and encoder_heads are of the encoder embedder only")
	}
	return nil
}

func (c *Config) checkExperts() error {
	switch {
	case !c.ImageExperts:
	case c.Vision.None():
		return errors.New("image_experts: the model takes no images")
	case c.Adapter != nil:
		return errors.New("image_experts and adapter are both set; an adapter's decoder cannot have experts")
	}
	return nil
}
