// Package pretrained reads and writes models: Hugging Face folders and GGUF files of decoders, and
// the folders of trained models.
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
	"patchwork/shaders/quant"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/tokenizer"
)

// Decoder is a pretrained language model: a Hugging Face folder or a GGUF file of a Llama, Qwen
// or Gemma.
type Decoder struct {
	Path string
	Text vlm.TextConfig
	// Whole is the configuration with the embedders of images and sound; nil: there are none, or only the
	// decoder is read.
	Whole *vlm.Config

	weights   weightSource
	config    []byte // config.json of a Hugging Face folder
	processor func(patches int) (*vlm.Processor, error)
}

// fileName returns the name of a parameter in the files, where decoder parameters have no prefix;
// ok is false for a parameter that is not there.
func (p *Decoder) fileName(param *nn.Param) (name string, ok bool) {
	name, inDecoder := strings.CutPrefix(param.Name, vlm.DecoderPrefix)
	return name, (inDecoder || p.Whole != nil) && param.Group != vlm.GroupAdapter
}

// weightSource reads a decoder's parameters by Hugging Face's names, on demand.
type weightSource interface {
	// shape returns a parameter's shape in Hugging Face's layout.
	shape(name string) (shape []int, ok bool)
	// read reads whole rows, from row-major index from on, into dst. Norms are as parameters hold
	// them: with TextConfig.UnitNorms 1 + w.
	read(name string, from int, dst []float32) error
	// unexpected returns the name of a tensor that is not known, or "".
	unexpected(known func(name string) bool) string
	// files returns the paths of the weight files.
	files() []string
	Close() error
}

// Open opens a decoder without reading its weights. Of a Gemma 4 folder only the decoder is opened.
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

// Processor reads the tokenizer and chat template. patches is the number of tokens of an image,
// for which <|image|> is added; 0 = text only.
func (p *Decoder) Processor(patches int) (*vlm.Processor, error) {
	proc, err := p.processor(patches)
	if err != nil {
		return nil, err
	}
	own := proc.Tokenizer.Len() - len(proc.AddedTokens())
	if own > p.Text.VocabSize {
		return nil, fmt.Errorf("%s: the tokenizer has %d ids, but the embedding has %d rows", p.Path, own, p.Text.VocabSize)
	}
	return proc, nil
}

// WithTokens returns the configuration with a vocabulary large enough for the tokenizer.
// Embeddings are often padded, so <|image|> may need no new row.
func (p *Decoder) WithTokens(tok *tokenizer.Tokenizer) vlm.TextConfig {
	text := p.Text
	text.VocabSize = max(text.VocabSize, tok.Len())
	return text
}

// Config returns the configuration of a text-only model.
func (p *Decoder) Config() vlm.Config {
	return vlm.Config{ModelType: vlm.ModelType, Text: p.Text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: vlm.FormatVersion}
}

// Load reads the weights into a model that has passed Check, and initialises the rows of the
// placeholders that were added to the tokenizer.
func (p *Decoder) Load(dev engine.Device, m *vlm.Model, proc *vlm.Processor, seed uint64) error {
	if err := p.LoadWeights(dev, m); err != nil {
		return err
	}
	return setRows(dev, m, proc.AddedTokens(), func(param *nn.Param) []float32 { return param.Draw(seed, param.Shape[1]) })
}

// setRows sets the vocabulary's rows of tokens.
func setRows(dev engine.Device, m *vlm.Model, ids []int32, row func(param *nn.Param) []float32) error {
	for _, param := range m.VocabularyParams() {
		for _, id := range ids {
			if err := m.Params.SetRow(dev, param, int(id), row(param)); err != nil {
				return err
			}
		}
	}
	return nil
}

// LoadWeights reads the weights into a model that has passed Check.
func (p *Decoder) LoadWeights(dev engine.Device, m *vlm.Model) error {
	for _, param := range m.Params.All() {
		name, ok := p.fileName(param)
		if !ok {
			continue
		}
		if err := p.loadParam(dev, m, param, name); err != nil {
			return err
		}
	}
	return nil
}

// loadParam reads one parameter: its blocks as they are in the file where the model stores it so,
// otherwise its values.
func (p *Decoder) loadParam(dev engine.Device, m *vlm.Model, param *nn.Param, name string) error {
	rows := p.shape(m, param)[0]
	want, quantised := param.Format()
	if got, ok := p.format(param); quantised && ok && got == want {
		return m.Params.FillBlocks(dev, param, rows, func(row int, dst []byte) error {
			return p.weights.(blockSource).readBlocks(name, row, dst)
		})
	}
	read := func(from int, dst []float32) error { return p.weights.read(name, from, dst) }
	return m.Params.Fill(dev, m.Params.Weights, param, rows, read)
}

// blockSource is a weightSource with quantised matrices.
type blockSource interface {
	// format returns a parameter's block format; ok is false where it is not quantised.
	format(name string) (f quant.Format, ok bool)
	// readBlocks reads whole rows of blocks, from a row on, into dst. It checks their scales.
	readBlocks(name string, row int, dst []byte) error
}

// format returns a parameter's block format in the file; ok is false where it has none.
func (p *Decoder) format(param *nn.Param) (f quant.Format, ok bool) {
	source, isBlocks := p.weights.(blockSource)
	name, inFile := p.fileName(param)
	if !isBlocks || !inFile {
		return 0, false
	}
	return source.format(name)
}

// Check returns an error for a tensor that is missing, has a wrong shape or is unknown.
func (p *Decoder) Check(m *vlm.Model) error {
	known := map[string]bool{}
	for _, param := range m.Params.All() {
		name, ok := p.fileName(param)
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
			return fmt.Errorf("%s: tensor %q has shape %v, want %v by the configuration", p.Path, name, got, want)
		}
		if err := p.weights.read(name, 0, nil); err != nil { // checks its type
			return err
		}
	}
	if name := p.weights.unexpected(func(name string) bool { return known[name] }); name != "" {
		return fmt.Errorf("%s: tensor %q is not a parameter of a %s decoder%s", p.Path, name, p.Text.ModelType, quantisedHint(name))
	}
	return nil
}

// quantisedHint explains tensors of quantisation scales.
func quantisedHint(name string) string {
	for _, part := range []string{"weight_scale", "scale_inv", "qzeros", "qweight", "absmax", "input_scale"} {
		if strings.Contains(name, part) {
			return ": the weights are quantised; use F32, F16 or BF16 safetensors, or a GGUF file"
		}
	}
	return ""
}

// shape returns a parameter's shape in the decoder's files, which may have fewer vocabulary rows
// than the model.
func (p *Decoder) shape(m *vlm.Model, param *nn.Param) []int {
	shape := slices.Clone(param.Shape)
	if slices.Contains(m.VocabularyParams(), param) {
		shape[0] = p.Text.VocabSize
	}
	return shape
}

// fingerprintBytes is the number of bytes hashed at each end of a file.
const fingerprintBytes = 1 << 20

// Fingerprint identifies the weights by a hash of their file sizes and of the first and last
// bytes. Hashing everything would take longer than loading.
func (p *Decoder) Fingerprint() (string, error) {
	h := sha256.New()
	for _, path := range p.weights.files() {
		f, err := smallfile.Open(path, math.MaxInt64)
		if err != nil {
			return "", err
		}
		err = hashHeadAndTail(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashHeadAndTail(h io.Writer, f *os.File) error {
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
