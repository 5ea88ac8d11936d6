package vlm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"patchwork/nn/safetensors"
)

// openHuggingFace opens a folder with config.json, model.safetensors or its
// shards, and the tokenizer's files.
func openHuggingFace(dir string) (*Pretrained, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s is no model's folder: %w", dir, err)
	}
	p := &Pretrained{Path: dir, language: func(patches int) (*Language, error) { return loadLanguage(dir, patches) }}
	var quantised struct {
		Config json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(data, &p.Text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if json.Unmarshal(data, &quantised) == nil && len(quantised.Config) > 0 && string(quantised.Config) != "null" {
		return nil, fmt.Errorf("%s: quantization_config is not supported; safetensors of F32, F16 and BF16 are, and GGUF files", path)
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	p.weights = setSource{set, p.Text.TieWordEmbeddings}
	return p, nil
}

// setSource reads safetensors, which have Hugging Face's names and order.
type setSource struct {
	*safetensors.Set
	tied bool
}

func (s setSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(name)
	return t.Shape, ok
}

func (s setSource) read(name string, from int, dst []float32) error {
	return s.ReadFloats(name, from, dst)
}

func (s setSource) files() []string { return s.Files() }

// invFreq are RoPE's frequencies, which older Llama files carry along.
var invFreq = regexp.MustCompile(`^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$`)

func (s setSource) unexpected(known func(string) bool) string {
	for _, name := range s.Names() {
		copied := s.tied && name == headName // some files hold a tied head twice
		if !known(name) && !copied && !invFreq.MatchString(name) {
			return name
		}
	}
	return ""
}
