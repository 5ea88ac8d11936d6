package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// A model with the embedder of this project that another program has saved: the embedder and the
// connector under one prefix, the decoder under another, tables of positions with a first axis of 1. The
// encoder-free models of Hugging Face's blog "train our own encoder-free VLM" are saved so. Tensors are
// found by the ends of their names and their shapes; config.json and the tokenizer are the decoder's.

// rowPositions ends the name of the table that no other model has.
const rowPositions = "y_pos_emb"

// hasPrefixes reports whether the weights of a folder are such a model's.
func hasPrefixes(dir string) bool {
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return false
	}
	defer set.Close()
	return slices.ContainsFunc(set.Names(), func(name string) bool { return endsIn(name, rowPositions) })
}

// endsIn reports whether a name is end, or ends in it after a dot.
func endsIn(name, end string) bool { return name == end || strings.HasSuffix(name, "."+end) }

// prefixedSource reads such a model's parameters.
type prefixedSource struct {
	*safetensors.Set
	names map[string]string // of tensors by those of parameters
}

func (s *prefixedSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(s.names[name])
	if ok && len(t.Shape) == 3 && t.Shape[0] == 1 {
		return t.Shape[1:], true
	}
	return t.Shape, ok
}

func (s *prefixedSource) read(name string, from int, dst []float32) error {
	return s.ReadFloats(s.names[name], from, dst)
}

func (s *prefixedSource) unexpected(func(string) bool) string { return "" } // openPrefixed has looked

func (s *prefixedSource) files() []string { return s.Files() }

// openPrefixed opens such a folder.
func openPrefixed(dir string) (*Decoder, error) {
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	p, err := readPrefixed(dir, set)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), set.Close())
	}
	return p, nil
}

func readPrefixed(dir string, set *safetensors.Set) (*Decoder, error) {
	text, err := prefixedText(dir)
	if err != nil {
		return nil, err
	}
	s := &prefixedSource{set, map[string]string{}}
	rest := s.find(text.NumHiddenLayers)
	if shape, ok := s.shape(EmbeddingName); ok {
		text.VocabSize = shape[0] // added tokens may have changed it
	}
	if name, ok := s.names[HeadName]; ok && text.TieWordEmbeddings {
		same, err := (&setSource{Set: set}).equal(s.names[EmbeddingName], name)
		if err != nil {
			return nil, err
		}
		text.TieWordEmbeddings = same
	}
	vision, err := s.vision(text.HiddenSize)
	if err != nil {
		return nil, err
	}
	proc, err := loadProcessor(dir, vision.Patches())
	if err != nil {
		return nil, err
	}
	c := vlm.Config{
		ModelType: vlm.ModelType, Vision: vision, Text: text, ImageTokenID: int(proc.ImageID()), Attention: packing.Causal,
		Turns: packing.InConversation, FormatVersion: vlm.FormatVersion,
	}
	p := &Decoder{Path: dir, Text: text, Whole: &c, weights: s, processor: func(patches int) (*vlm.Processor, error) { return loadProcessor(dir, patches) }}
	m, err := vlm.NewModel(c, vlm.Init{})
	if err != nil {
		return nil, err
	}
	return p, p.checkPrefixed(m, rest)
}

// prefixedText reads the decoder's settings: config.json, or an object in it.
func prefixedText(dir string) (text vlm.TextConfig, err error) {
	data, err := smallfile.Read(filepath.Join(dir, "config.json"), smallfile.Config)
	if err != nil {
		return text, err
	}
	if text, err = vlm.ParseText(data); err == nil {
		return text, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if inner, err := vlm.ParseText(fields[name]); err == nil {
				return inner, nil
			}
		}
	}
	return text, fmt.Errorf("config.json does not describe the decoder (%w); put the config.json of the decoder that it was trained from in its place, with its tokenizer", err)
}

// find gives the tensors their parameters' names, and returns those that it does not know.
func (s *prefixedSource) find(layers int) (rest []string) {
	prefix := s.decoderPrefix()
	for _, name := range s.Names() {
		inner, inDecoder := strings.CutPrefix(name, prefix)
		switch param := embedderName(name); {
		case prefix != noPrefix && inDecoder:
			s.names["model."+inner] = name
		case endsIn(name, HeadName):
			s.names[HeadName] = name
		case param != "" && s.names[param] == "":
			s.names[param] = name
		default:
			rest = append(rest, name)
		}
	}
	return rest
}

// noPrefix is what no name begins with.
const noPrefix = "\x00"

// decoderPrefix is what is before embed_tokens.weight, or noPrefix.
func (s *prefixedSource) decoderPrefix() string {
	for _, name := range s.Names() {
		if endsIn(name, "embed_tokens.weight") {
			return strings.TrimSuffix(name, "embed_tokens.weight")
		}
	}
	return noPrefix
}

// embedderName is the name of a parameter of the embedder or connector by the end of a tensor's name, or "".
func embedderName(tensor string) string {
	for _, part := range []string{"ln1.weight", "ln1.bias", "fc.weight", "fc.bias", "ln2.weight", "ln2.bias", rowPositions, "x_pos_emb", "ln3.weight", "ln3.bias"} {
		if endsIn(tensor, part) && !strings.Contains(tensor, "connector") {
			return "embedder." + part
		}
	}
	for _, kind := range []string{"weight", "bias"} {
		if endsIn(tensor, kind) && strings.Contains(tensor, "connector") {
			return "connector." + kind
		}
	}
	return ""
}

// vision is the embedder's configuration by the shapes of its tensors.
func (s *prefixedSource) vision(hidden int) (v vlm.VisionConfig, err error) {
	rows, okRows := s.shape("embedder." + rowPositions)
	fc, okFC := s.shape("embedder.fc.weight")
	if !okRows || !okFC || len(rows) != 2 || len(fc) != 2 {
		return v, fmt.Errorf("%s is no table [1, side, hidden size], or no fc.weight [hidden size, values of a patch] is beside it", rowPositions)
	}
	side := int(math.Round(math.Sqrt(float64(fc[1]) / 3)))
	if 3*side*side != fc[1] {
		return v, fmt.Errorf("%s has rows of %d values, want those of a square patch of 3 channels", s.names["embedder.fc.weight"], fc[1])
	}
	const eps = 1e-5 // PyTorch's default
	return vlm.VisionConfig{
		ImageSize: rows[0] * side, PatchSize: side, NumChannels: 3, HiddenSize: hidden, MaxGrid: rows[0], LayerNormEps: eps, PatchNormEps: eps,
	}, nil
}

// checkPrefixed returns one error for all parameters that are not found, or have another shape, and the
// tensors that are left over.
func (p *Decoder) checkPrefixed(m *vlm.Model, rest []string) error {
	s := p.weights.(*prefixedSource)
	known := map[string]bool{HeadName: true}
	var missing []string
	for _, param := range m.Params.All() {
		name, _ := p.fileName(param)
		known[name] = true
		got, ok := s.shape(name)
		switch {
		case !ok:
			missing = append(missing, fmt.Sprintf("%s %v", name, param.Shape))
		case !slices.Equal(got, param.Shape):
			missing = append(missing, fmt.Sprintf("%s %v (%s is %v)", name, param.Shape, s.names[name], got))
		}
	}
	for name, tensor := range s.names {
		if !known[name] && !invFreq.MatchString(name) {
			rest = append(rest, tensor)
		}
	}
	slices.Sort(rest)
	switch {
	case len(missing) > 0 && len(rest) > 0:
		return fmt.Errorf("not found by the ends of names and shapes: %s; not used: %s", listed(missing), listed(rest))
	case len(missing) > 0:
		return fmt.Errorf("not found by the ends of names and shapes: %s", listed(missing))
	case len(rest) > 0:
		return fmt.Errorf("these tensors belong to no parameter: %s", listed(rest))
	}
	return nil
}

// maxListed is the number of names that an error lists.
const maxListed = 12

func listed(names []string) string {
	if more := len(names) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), more)
	}
	return strings.Join(names, ", ")
}
