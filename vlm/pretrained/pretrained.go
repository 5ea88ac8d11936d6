package pretrained

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/tokenizer"
)

// Decoder is a language model to start from: a Hugging Face folder or a GGUF
// file of the Llama or the Qwen3 architecture.
type Decoder struct {
	Path string
	Text vlm.TextConfig // the decoder's own

	weights   weightSource
	processor func(patches int) (*vlm.Processor, error)
}

// weightSource is where a decoder's parameters come from, under Hugging Face's
// names. It holds none of them in memory.
type weightSource interface {
	// shape is a parameter's, as Hugging Face has it.
	shape(name string) (shape []int, ok bool)
	// read puts the elements from row-major index from on into dst: whole rows.
	read(name string, from int, dst []float32) error
	// unexpected returns the name of a tensor that a decoder of the configuration
	// does not have, and "" when there is none.
	unexpected(known func(name string) bool) string
	// files are the paths that the weights lie in.
	files() []string
	Close() error
}

// Open opens a decoder without reading its weights.
func Open(path string) (*Decoder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return openGGUF(path)
	}
	return openHuggingFace(path)
}

// Close closes the files.
func (p *Decoder) Close() error { return p.weights.Close() }

// Processor reads the decoder's tokenizer and chat template. patches is the number
// of tokens of a picture, for which <|image|> is added; 0 is for text alone.
func (p *Decoder) Processor(patches int) (*vlm.Processor, error) {
	l, err := p.processor(patches)
	if err != nil {
		return nil, err
	}
	own := l.Tokenizer.Len()
	if l.AddedImageToken {
		own--
	}
	if own > p.Text.VocabSize {
		return nil, fmt.Errorf("%s: the tokenizer has %d ids, the embedding has %d rows: they do not belong together", p.Path, own, p.Text.VocabSize)
	}
	return l, nil
}

// WithTokens is the decoder's configuration with room for every id of the
// tokenizer: embeddings are often padded, so that <|image|> may need no new row.
func (p *Decoder) WithTokens(tok *tokenizer.Tokenizer) vlm.TextConfig {
	text := p.Text
	text.VocabSize = max(text.VocabSize, tok.Len())
	return text
}

// Config is the decoder as a model of its own, without pictures.
func (p *Decoder) Config() vlm.Config {
	return vlm.Config{ModelType: vlm.ModelType, Text: p.Text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: vlm.FormatVersion}
}

// Load writes the decoder's weights into the model's, which has passed check, and
// draws the rows of a
// tokenizer's new token: that of <|image|>, which may be one that padded the
// embedding.
func (p *Decoder) Load(dev engine.Device, m *vlm.Model, l *vlm.Processor, seed uint64) error {
	for _, param := range m.Params.All() {
		name, ok := strings.CutPrefix(param.Name, vlm.DecoderPrefix)
		if !ok {
			continue
		}
		read := func(from int, dst []float32) error { return p.weights.read(name, from, dst) }
		if err := m.Params.Fill(dev, m.Params.Weights, param, p.shape(m, param)[0], read); err != nil {
			return err
		}
	}
	if !l.AddedImageToken {
		return nil
	}
	for _, param := range m.VocabularyParams() {
		if err := m.Params.SetRow(dev, param, int(l.ImageID()), param.Draw(seed, param.Shape[1])); err != nil {
			return err
		}
	}
	return nil
}

// Check says which tensor is missing, misshapen or none of the decoder's.
func (p *Decoder) Check(m *vlm.Model) error {
	known := map[string]bool{}
	for _, param := range m.Params.All() {
		name, ok := strings.CutPrefix(param.Name, vlm.DecoderPrefix)
		if !ok {
			continue
		}
		known[name] = true
		got, ok := p.weights.shape(name)
		want := p.shape(m, param)
		switch {
		case !ok:
			return fmt.Errorf("%s: tensor %q is missing", p.Path, name)
		case !slices.Equal(got, want):
			return fmt.Errorf("%s: tensor %q has shape %v, the configuration asks for %v", p.Path, name, got, want)
		}
		if err := p.weights.read(name, 0, nil); err != nil { // its type
			return err
		}
	}
	if name := p.weights.unexpected(func(name string) bool { return known[name] }); name != "" {
		return fmt.Errorf("%s: tensor %q is none of a %s decoder's%s", p.Path, name, p.Text.ModelType, quantisedHint(name))
	}
	return nil
}

// quantisedHint tells what tensors of scales are for.
func quantisedHint(name string) string {
	for _, part := range []string{"weight_scale", "scale_inv", "qzeros", "qweight", "absmax", "input_scale"} {
		if strings.Contains(name, part) {
			return ": the weights are quantised; take the model's own F32, F16 or BF16 files, or a GGUF file"
		}
	}
	return ""
}

// shape is a parameter's in the decoder's files: those over the vocabulary may
// have fewer rows than the model's.
func (p *Decoder) shape(m *vlm.Model, param *nn.Param) []int {
	shape := slices.Clone(param.Shape)
	if slices.Contains(m.VocabularyParams(), param) {
		shape[0] = p.Text.VocabSize
	}
	return shape
}

// fingerprintBytes is how much of either end of a file goes into a fingerprint.
const fingerprintBytes = 1 << 20

// Fingerprint tells decoders apart: a hash of the weights' sizes and
// ends. A whole hash would take longer than the loading.
func (p *Decoder) Fingerprint() (string, error) {
	h := sha256.New()
	for _, path := range p.weights.files() {
		f, err := smallfile.Open(path, math.MaxInt64)
		if err != nil {
			return "", err
		}
		err = hashEnds(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashEnds(h io.Writer, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%d\n", info.Size())
	for _, at := range []int64{0, max(0, info.Size()-fingerprintBytes)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, at, fingerprintBytes)); err != nil {
			return err
		}
	}
	return nil
}
