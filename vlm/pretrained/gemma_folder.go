package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// kindOfFolder is what a folder with a config.json holds.
type kindOfFolder int

const (
	decoderFolder  kindOfFolder = iota // a decoder alone, in Hugging Face's layout
	modelFolder                        // a model that vlmtool has written
	gemmaFolder                        // a Gemma 4 with its embedders, in Hugging Face's layout
	prefixedFolder                     // a model of this kind that another program has saved
)

// folderKind returns what a folder holds.
func folderKind(dir string) (kindOfFolder, error) {
	file := filepath.Join(dir, "config.json")
	text, err := smallfile.Read(file, smallfile.Config)
	if err != nil {
		return decoderFolder, err
	}
	var c struct {
		ModelType string          `json:"model_type"`
		Vision    json.RawMessage `json:"vision_config"`
		Audio     json.RawMessage `json:"audio_config"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return decoderFolder, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case c.ModelType == vlm.ModelType:
		return modelFolder, nil
	case hasPrefixes(dir):
		return prefixedFolder, nil
	case c.ModelType != vlm.GemmaModelType || isNull(c.Vision) && isNull(c.Audio):
		return decoderFolder, nil
	}
	if images, sound := gemmaPartsIn(dir); !images && !sound {
		return decoderFolder, nil
	}
	return gemmaFolder, nil
}

// isForeign reports whether a folder holds a model with its embedders in a layout that is not vlmtool's.
func isForeign(dir string) bool {
	kind, err := folderKind(dir)
	return err == nil && (kind == gemmaFolder || kind == prefixedFolder)
}

// gemmaPartsIn reports which embedders the weights of a folder have: both, as far as config.json says
// so, where there are no weights or they cannot be read, which loading them reports.
func gemmaPartsIn(dir string) (images, sound bool) {
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return true, true
	}
	defer set.Close()
	return gemmaParts(set.Names())
}

// gemmaParts reports which of Gemma 4's embedders the files have, at least in part.
func gemmaParts(names []string) (images, sound bool) {
	for _, name := range names {
		images = images || strings.HasPrefix(name, "model.vision_embedder.") || strings.HasPrefix(name, "model.embed_vision.")
		sound = sound || strings.HasPrefix(name, "model.embed_audio.")
	}
	return images, sound
}

// openGemma opens a Gemma 4 folder with its embedders.
func openGemma(dir string) (*Decoder, error) {
	p, err := openHuggingFace(dir)
	if err != nil {
		return nil, err
	}
	c, err := readGemmaConfig(dir)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	c.Text = p.Text
	p.Whole = &c
	return p, nil
}

// readGemmaConfig reads the configuration of a Gemma 4 folder, without the embedders that its weights do
// not have.
func readGemmaConfig(dir string) (vlm.Config, error) {
	file := filepath.Join(dir, "config.json")
	text, err := smallfile.Read(file, smallfile.Config)
	if err != nil {
		return vlm.Config{}, err
	}
	c, err := vlm.ParseGemma(text)
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	images, sound := gemmaPartsIn(dir)
	if !images {
		c.Vision = vlm.VisionConfig{}
	}
	if !sound {
		c.Audio = vlm.AudioConfig{}
	}
	if c.Vision.None() {
		return c, nil
	}
	return c, readImageTokens(dir, &c.Vision)
}

// Files of a Gemma 4 folder with the settings of its processor: that of transformers 5, and before.
var processorFiles = []string{"processor_config.json", "preprocessor_config.json"}

// readImageTokens reads the tokens of an image from the files of a folder's processor, if it has them.
func readImageTokens(dir string, v *vlm.VisionConfig) error {
	type settings struct {
		ImageTokens int `json:"max_soft_tokens"`
	}
	for _, name := range processorFiles {
		file := filepath.Join(dir, name)
		text, err := smallfile.Read(file, smallfile.Config)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var c struct {
			settings
			Image settings `json:"image_processor"`
		}
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		n := max(c.ImageTokens, c.Image.ImageTokens)
		if n > vlm.MaxImageTokens {
			return fmt.Errorf("%s: max_soft_tokens is %d, want at most %d", file, n, vlm.MaxImageTokens)
		}
		if n > 0 {
			v.MaxPatches = n
			return nil
		}
	}
	return nil
}
