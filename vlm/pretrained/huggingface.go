package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// openHuggingFace opens a folder with config.json, model.safetensors or its
// shards, and the tokenizer's files.
func openHuggingFace(dir string) (*Decoder, error) {
	path := filepath.Join(dir, "config.json")
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return nil, fmt.Errorf("%s is no model's folder: %w", dir, err)
	}
	p := &Decoder{Path: dir, processor: func(patches int) (*vlm.Processor, error) { return loadProcessor(dir, patches) }}
	var quantised struct {
		Config json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(data, &p.Text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if json.Unmarshal(data, &quantised) == nil && len(quantised.Config) > 0 && string(quantised.Config) != "null" {
		return nil, fmt.Errorf("%s: quantization_config is not supported; safetensors of F32, F16 and BF16 are, and GGUF files", path)
	}
	if err := checkWeightFiles(dir); err != nil {
		return nil, err
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	source := newSetSource(set)
	p.weights = source
	if p.Text.TieWordEmbeddings {
		err = source.untie(p)
	}
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return p, nil
}

// checkWeightFiles names the weights that are there where they are not safetensors.
func checkWeightFiles(dir string) error {
	for _, name := range []string{safetensors.SingleFile, safetensors.IndexFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, end := range []string{".safetensors", ".bin", ".pth", ".pt", ".h5", ".msgpack", ".gguf"} {
		at := slices.IndexFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), end) })
		if at < 0 {
			continue
		}
		name := entries[at].Name()
		switch end {
		case ".safetensors":
			return fmt.Errorf("%s has no %s but %q; rename that file if the whole model lies in it", dir, safetensors.SingleFile, name)
		case ".gguf":
			return fmt.Errorf("%s has no %s but %q; name that file instead of the folder", dir, safetensors.SingleFile, name)
		}
		return fmt.Errorf("%s has no %s but %q, which is not read; load it in transformers and save_pretrained it, which writes safetensors", dir, safetensors.SingleFile, name)
	}
	return nil
}

// setSource reads safetensors, which have Hugging Face's names and order.
type setSource struct {
	*safetensors.Set
	bare     bool // saved without "model." before the names, as transformers' AutoModel has them
	headOnly bool // the one table of tied weights has the head's name
	copied   bool // the head is there too, with the same numbers
}

func newSetSource(set *safetensors.Set) *setSource {
	s := &setSource{Set: set}
	has := func(name string) bool { _, ok := set.Tensor(name); return ok }
	s.bare = !has("model.norm.weight") && has("norm.weight")
	s.headOnly = !has(s.theirs(EmbeddingName)) && has(HeadName)
	return s
}

// theirs is a parameter's name in the files.
func (s *setSource) theirs(name string) string {
	if s.headOnly && name == EmbeddingName {
		return HeadName
	}
	if s.bare {
		return strings.TrimPrefix(name, "model.")
	}
	return name
}

// untie looks at weights that are tied by the configuration and there twice. Where they
// differ the model keeps both, as transformers 5 does.
func (s *setSource) untie(p *Decoder) error {
	if _, ok := s.Tensor(HeadName); !ok || s.headOnly {
		return nil
	}
	same, err := s.equal(s.theirs(EmbeddingName), HeadName)
	if err != nil {
		return err
	}
	if s.copied = same; !same {
		slog.Warn(fmt.Sprintf("%s: tie_word_embeddings is set, but %s differs from the embedding; both are kept", p.Path, HeadName))
		p.Text.TieWordEmbeddings = false
	}
	return nil
}

// equal says whether two tensors have the same shape and numbers.
func (s *setSource) equal(a, b string) (bool, error) {
	x, _ := s.Tensor(a)
	y, _ := s.Tensor(b)
	if !slices.Equal(x.Shape, y.Shape) {
		return false, nil
	}
	const piece = 1 << 18
	one, other := make([]float32, piece), make([]float32, piece)
	for from := 0; from < x.Size(); from += piece {
		n := min(piece, x.Size()-from)
		if err := errors.Join(s.ReadFloats(a, from, one[:n]), s.ReadFloats(b, from, other[:n])); err != nil {
			return false, err
		}
		if !slices.Equal(one[:n], other[:n]) {
			return false, nil
		}
	}
	return true, nil
}

func (s *setSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(s.theirs(name))
	return t.Shape, ok
}

func (s *setSource) read(name string, from int, dst []float32) error {
	return s.ReadFloats(s.theirs(name), from, dst)
}

func (s *setSource) files() []string { return s.Files() }

// invFreq are RoPE's frequencies, which older Llama files carry along.
var invFreq = regexp.MustCompile(`^(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$`)

func (s *setSource) unexpected(known func(string) bool) string {
	for _, name := range s.Names() {
		ours := name
		switch {
		case s.headOnly && name == HeadName:
			ours = EmbeddingName
		case s.bare && name != HeadName:
			ours = "model." + name
		}
		if !known(ours) && !(s.copied && name == HeadName) && !invFreq.MatchString(name) {
			return name
		}
	}
	return ""
}
