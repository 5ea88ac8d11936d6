package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/nn"
	"patchwork/vlm"
)

// Files of an adapter's folder, in PEFT's layout, beside the configuration and the tokenizer of
// the model.
const (
	AdapterWeightsFile = "adapter_model.safetensors"
	adapterConfigFile  = "adapter_config.json"
	baseFile           = "base.json" // which only vlmtool reads
)

// Base is the model that an adapter was trained on.
type Base struct {
	Path        string `json:"path"`
	Fingerprint string `json:"fingerprint"`
	// ImageToken is set if <|image|> was added to the vocabulary.
	ImageToken *ImageToken `json:"image_token,omitempty"`
}

// ImageToken is how the vocabulary's rows of <|image|> are drawn: normal, from a seed.
type ImageToken struct {
	Seed uint64  `json:"seed"`
	Std  float64 `json:"std"`
}

// row is a parameter's row.
func (i *ImageToken) row(p *nn.Param) []float32 {
	return (&nn.Param{Name: p.Name, Init: nn.Init{Std: i.Std}}).Draw(i.Seed, p.Shape[1])
}

// SaveAdapter writes the folder of a model's adapter: what was trained, the embedder and the
// connector included, without the base.
func SaveAdapter(m *vlm.Model, proc *vlm.Processor, base Base, dir string, values TensorValues) error {
	if err := SaveConfig(m, proc, dir); err != nil {
		return err
	}
	if err := WriteJSON(filepath.Join(dir, adapterConfigFile), peftConfig(m.Config, base.Path)); err != nil {
		return err
	}
	if err := WriteJSON(filepath.Join(dir, baseFile), base); err != nil {
		return err
	}
	return writeEntries(filepath.Join(dir, AdapterWeightsFile), peftEntries(m, values))
}

// adapted is an open base with the model that an adapter makes of it.
type adapted struct {
	*Decoder
	model     *vlm.Model
	processor *vlm.Processor
	base      Base // that the adapter was trained on
}

// openAdapted opens a base and the model that an adapter makes of it.
func openAdapted(path, mmproj, dir string) (a adapted, err error) {
	if _, err := os.Stat(filepath.Join(dir, AdapterWeightsFile)); err != nil {
		return a, fmt.Errorf("--adapter: %s is not the folder of an adapter: %w", dir, err)
	}
	if a.model, a.processor, err = OpenModel(dir); err != nil {
		return a, err
	}
	if a.model.Config.Adapter == nil {
		return a, fmt.Errorf("--adapter: %s: config.json describes no adapter", dir)
	}
	if a.base, err = readBase(dir); err != nil {
		return a, err
	}
	if a.Decoder, err = OpenParts(path, mmproj); err != nil {
		return a, err
	}
	a.leaveEmbedders(a.model.Config)
	if err := a.check(dir); err != nil {
		return a, errors.Join(err, a.Close())
	}
	return a, nil
}

// OpenAny opens a decoder, or a model with its embedder.
func OpenAny(path string) (*Decoder, error) {
	isDecoder, err := IsDecoder(path)
	if err != nil {
		return nil, err
	}
	if isDecoder {
		return Open(path)
	}
	return openWhole(path)
}

// OpenParts is OpenAny of a model whose embedders may be in a file of their own; mmproj "" = they are not.
func OpenParts(path, mmproj string) (*Decoder, error) {
	if mmproj == "" {
		return OpenAny(path)
	}
	return openSplit(path, mmproj)
}

// leaveEmbedders leaves out the embedders of a Gemma 4 folder if the model has its own beside the
// decoder.
func (p *Decoder) leaveEmbedders(c vlm.Config) {
	if w := p.Whole; w != nil && w.IsGemma() && !c.IsGemma() {
		p.Whole = nil
	}
}

// check returns an error if the base does not fit the adapter, and warns if it fits but has other
// weights than that which the adapter was trained on.
func (a adapted) check(dir string) error {
	if err := a.Check(a.model); err != nil {
		return fmt.Errorf("--adapter: %s is for another model: %w", dir, err)
	}
	if got, err := a.Fingerprint(); err != nil {
		return err
	} else if a.base.Fingerprint != "" && got != a.base.Fingerprint {
		slog.Warn(fmt.Sprintf("--adapter: %s was trained on %s, whose weights differ from those of %s", dir, a.base.Path, a.Path))
	}
	return nil
}

// readBase reads an adapter's base.json; an adapter of another program has none.
func readBase(dir string) (b Base, err error) {
	path := filepath.Join(dir, baseFile)
	text, err := smallfile.Read(path, smallfile.Config)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		return b, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// LoadBase reads the weights of an adapter's base.
func (p *Decoder) LoadBase(dev engine.Device, m *vlm.Model, proc *vlm.Processor, b Base) error {
	if err := p.LoadWeights(dev, m); err != nil || b.ImageToken == nil {
		return err
	}
	return setRows(dev, m, []int32{proc.ImageID()}, b.ImageToken.row)
}

// loadAdapted loads a base with an adapter.
func loadAdapted(path string, dev engine.Device, o LoadOptions) (*vlm.Runner, error) {
	a, err := openAdapted(path, o.MMProj, o.Adapter)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	o.store(a.model, a.format)
	return newRunner(path, a.model, a.processor, dev, func() error {
		if err := a.LoadBase(dev, a.model, a.processor, a.base); err != nil {
			return err
		}
		return readAdapter(a.model, dev, o.Adapter)
	})
}

// readAdapter reads an adapter's weights onto the device.
func readAdapter(m *vlm.Model, dev engine.Device, dir string) error {
	f, err := openAdapterFile(m, dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range m.Params.In(m.Params.Weights) {
		read := func(from int, dst []float32) error { return f.read(p, from, dst) }
		if err := m.Params.Fill(dev, m.Params.Weights, p, p.Shape[0], read); err != nil {
			return err
		}
	}
	return nil
}

// openMerged opens a base with an adapter as one model without adapters: its matrices are the
// base's, decoded if they are quantised, plus the adapters' products.
func openMerged(path, mmproj, dir string) (*Decoder, error) {
	opened, err := openAdapted(path, mmproj, dir)
	if err != nil {
		return nil, err
	}
	p, m, proc, base := opened.Decoder, opened.model, opened.processor, opened.base
	f, err := openAdapterFile(m, dir)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	adapters := m.Adapters()
	if slices.ContainsFunc(m.Params.All(), func(param *nn.Param) bool {
		_, quantised := p.format(param)
		return quantised && adapters[param.Name] != nil
	}) {
		slog.Info(fmt.Sprintf("%s is quantised: its matrices are decoded, the adapter is added, and the sums are written in the type that is asked for", path))
	}
	source := &mergedSource{weightSource: p.weights, adapter: f, model: m, base: base, image: int(proc.ImageID()), rows: p.Text.VocabSize, adapters: map[string]mergedAdapter{}}
	for name, l := range adapters {
		a, b := make([]float32, l.A.Count()), make([]float32, l.B.Count())
		if err := errors.Join(f.read(l.A, 0, a), f.read(l.B, 0, b)); err != nil {
			return nil, errors.Join(err, f.Close(), p.Close())
		}
		source.adapters[strings.TrimPrefix(name, vlm.DecoderPrefix)] = mergedAdapter{l, a, b}
	}
	c := m.Config
	c.Adapter = nil
	merged := &Decoder{Path: path, Text: c.Text, config: p.config, weights: source, processor: func(int) (*vlm.Processor, error) { return proc, nil }}
	if !c.TextOnly() {
		merged.Whole = &c
	}
	return merged, nil
}

// mergedSource adds adapters to the matrices of a base. The other trained parameters are the
// adapter file's.
type mergedSource struct {
	weightSource
	adapter  *adapterFile
	model    *vlm.Model // with adapters
	base     Base
	image    int // id of <|image|>
	rows     int // of the vocabulary in the base
	adapters map[string]mergedAdapter
}

type mergedAdapter struct {
	*nn.LoRA
	a, b []float32
}

// own is the parameter of a name where the adapter's file has it; nil: it is the base's.
func (s *mergedSource) own(name string) *nn.Param {
	if p := s.model.Params.ByName(name); p != nil && p.Group == vlm.GroupEmbedder {
		return p
	}
	return nil
}

// table is the parameter of a name if it has a row for each token.
func (s *mergedSource) table(name string) *nn.Param {
	p := s.model.Params.ByName(vlm.DecoderPrefix + name)
	if slices.Contains(s.model.VocabularyParams(), p) {
		return p
	}
	return nil
}

func (s *mergedSource) shape(name string) ([]int, bool) {
	if p := s.own(name); p != nil {
		return p.Shape, true
	}
	if p := s.table(name); p != nil {
		return p.Shape, true
	}
	return s.weightSource.shape(name)
}

func (s *mergedSource) read(name string, from int, dst []float32) error {
	if p := s.own(name); p != nil {
		return s.adapter.read(p, from, dst)
	}
	if p := s.table(name); p != nil {
		return s.readTable(p, name, from, dst)
	}
	if err := s.weightSource.read(name, from, dst); err != nil {
		return err
	}
	if l, ok := s.adapters[name]; ok && len(dst) > 0 {
		in := l.A.Shape[1]
		for i, v := range l.Delta(l.a, l.b, from/in, len(dst)/in) {
			dst[i] += v
		}
	}
	return nil
}

// readTable reads rows of the vocabulary, of which the base may have fewer.
func (s *mergedSource) readTable(p *nn.Param, name string, from int, dst []float32) error {
	cols := p.Shape[1]
	first, n := from/cols, len(dst)/cols
	inBase := max(0, min(n, s.rows-first))
	if err := s.weightSource.read(name, min(from, s.rows*cols), dst[:inBase*cols]); err != nil {
		return err
	}
	clear(dst[inBase*cols:])
	if s.base.ImageToken != nil && s.image >= first && s.image < first+n {
		copy(dst[(s.image-first)*cols:], s.base.ImageToken.row(p))
	}
	return nil
}

func (s *mergedSource) unexpected(func(string) bool) string { return "" } // openAdapted has looked

func (s *mergedSource) Close() error { return errors.Join(s.adapter.Close(), s.weightSource.Close()) }
