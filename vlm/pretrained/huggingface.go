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

// openHuggingFace opens a folder with config.json, model.safetensors or its shards, and the
// tokenizer files.
func openHuggingFace(dir string) (*Decoder, error) {
	p, err := readHuggingFace(dir)
	if err != nil {
		return nil, err
	}
	path, data := filepath.Join(dir, "config.json"), p.config
	var quantised struct {
		Config json.RawMessage `json:"quantization_config"`
	}
	if json.Unmarshal(data, &quantised) == nil && len(quantised.Config) > 0 && string(quantised.Config) != "null" {
		return nil, fmt.Errorf("%s: quantization_config is not supported; use F32, F16 or BF16 safetensors, or a GGUF file", path)
	}
	if err := checkWeightFiles(dir); err != nil {
		return nil, err
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	source := newSetSource(set)
	source.unitNorms = p.Text.UnitNorms()
	p.weights = source
	if p.Text.TieWordEmbeddings {
		err = source.checkTied(p)
	}
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return p, nil
}

// readHuggingFace reads the configuration of a folder.
func readHuggingFace(dir string) (*Decoder, error) {
	path := filepath.Join(dir, "config.json")
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return nil, fmt.Errorf("%s is not a model folder: %w", dir, err)
	}
	p := &Decoder{Path: dir, config: data, processor: func(patches int) (*vlm.Processor, error) { return loadProcessor(dir, patches) }}
	if p.Text, err = vlm.ParseText(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// checkWeightFiles returns an error that names the weight files of a folder without safetensors.
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
			return fmt.Errorf("%s has no %s but %q; rename that file if it holds the whole model", dir, safetensors.SingleFile, name)
		case ".gguf":
			return fmt.Errorf("%s has no %s but %q; give that file instead of the folder", dir, safetensors.SingleFile, name)
		}
		return fmt.Errorf("%s has no %s but %q, which is not supported; convert it to safetensors with transformers: from_pretrained, then save_pretrained", dir, safetensors.SingleFile, name)
	}
	return nil
}

// setSource reads safetensors files with Hugging Face's names.
type setSource struct {
	*safetensors.Set
	prefix     string // what names have instead of "model."
	headOnly   bool   // the table of tied weights is stored under the name of the head
	headCopied bool   // the head is stored too, equal to the embedding
	unitNorms  bool   // norms are stored as w, and multiply by 1 + w
}

// modelPrefixes are the beginnings of a decoder's names, instead of "model.": none, as saved by
// transformers' AutoModel, and those of models with other parts.
var modelPrefixes = []string{"", "model.language_model.", "language_model.model."}

func newSetSource(set *safetensors.Set) *setSource {
	s := &setSource{Set: set, prefix: "model."}
	has := func(name string) bool { _, ok := set.Tensor(name); return ok }
	for _, prefix := range modelPrefixes {
		if !has("model.norm.weight") && has(prefix+"norm.weight") {
			s.prefix = prefix
		}
	}
	s.headOnly = !has(s.fileName(EmbeddingName)) && has(HeadName)
	return s
}

// fileName returns a parameter's name in the files.
func (s *setSource) fileName(name string) string {
	if s.headOnly && name == EmbeddingName {
		return HeadName
	}
	if rest, ok := strings.CutPrefix(name, "model."); ok {
		return s.prefix + rest
	}
	return s.partName(name)
}

// paramName is the inverse of fileName; it is "" for a tensor of another part of the model.
func (s *setSource) paramName(name string) string {
	rest, inDecoder := strings.CutPrefix(name, s.prefix)
	switch {
	case s.headOnly && name == HeadName:
		return EmbeddingName
	case inDecoder && name != HeadName:
		return "model." + rest
	case strings.Contains(s.prefix, "language_model"):
		return ""
	}
	return name
}

// checkTied compares the head with the embedding if both are stored although the configuration
// ties them. If they differ the model keeps both, as transformers 5 does.
func (s *setSource) checkTied(p *Decoder) error {
	if _, ok := s.Tensor(HeadName); !ok || s.headOnly {
		return nil
	}
	same, err := s.equal(s.fileName(EmbeddingName), HeadName)
	if err != nil {
		return err
	}
	if s.headCopied = same; !same {
		slog.Warn(fmt.Sprintf("%s: tie_word_embeddings is set, but %s differs from the embedding; both are kept", p.Path, HeadName))
		p.Text.TieWordEmbeddings = false
	}
	return nil
}

// equal reports whether two tensors have the same shape and values.
func (s *setSource) equal(a, b string) (bool, error) {
	x, _ := s.Tensor(a)
	y, _ := s.Tensor(b)
	if !slices.Equal(x.Shape, y.Shape) {
		return false, nil
	}
	const chunk = 1 << 18
	one, other := make([]float32, chunk), make([]float32, chunk)
	for from := 0; from < x.Size(); from += chunk {
		n := min(chunk, x.Size()-from)
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
	if table, _, ok := s.jointPositions(name); ok {
		t, ok := s.Tensor(s.fileName(table))
		if !ok || len(t.Shape) != 3 || t.Shape[1] != 2 {
			return t.Shape, ok
		}
		return []int{t.Shape[0], t.Shape[2]}, true
	}
	t, ok := s.Tensor(s.fileName(name))
	return t.Shape, ok
}

func (s *setSource) read(name string, from int, dst []float32) error {
	if table, axis, ok := s.jointPositions(name); ok {
		return readAxis(s, s.fileName(table), axis, from, dst)
	}
	if err := s.ReadFloats(s.fileName(name), from, dst); err != nil || !s.unitNorms || !isNorm(name) {
		return err
	}
	for i := range dst {
		dst[i]++
	}
	return nil
}

// isNorm reports whether a parameter is the weight of a norm.
func isNorm(name string) bool { return strings.HasSuffix(name, "norm.weight") }

func (s *setSource) files() []string { return s.Files() }

// invFreq matches the RoPE frequencies stored in older Llama files.
var invFreq = regexp.MustCompile(`^(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$`)

func (s *setSource) unexpected(known func(string) bool) string {
	for _, name := range s.Names() {
		param := s.paramName(name)
		if param != "" && !known(param) && !(s.headCopied && name == HeadName) && !invFreq.MatchString(name) {
			return name
		}
	}
	return ""
}
