package vlm

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
)

const weightsFile = "model.safetensors"

// save writes the model's directory: configuration, weights, tokenizer and the
// small files that Hugging Face's tools look for.
func (m *Model) save(dev engine.Device, l *Language, dir string) error {
	return m.saveValues(l, dir, m.valuesOn(dev))
}

func (m *Model) saveValues(l *Language, dir string, values tensorValues) error {
	if err := m.saveSmall(l, dir); err != nil {
		return err
	}
	return m.writeTensors(m.Params.Weights, filepath.Join(dir, weightsFile), values)
}

// saveSmall writes everything but the weights.
func (m *Model) saveSmall(l *Language, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, value := range map[string]any{
		"config.json": m.Config,
		"preprocessor_config.json": map[string]any{
			"image_processor_type": modelType, "size": map[string]int{"shortest_edge": m.Config.Vision.ImageSize},
			"crop_size": m.Config.Vision.ImageSize, "patch_size": m.Config.Vision.PatchSize,
			"resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255, "do_normalize": false,
		},
		"generation_config.json": l.generationConfig(),
	} {
		if err := writeJSON(filepath.Join(dir, name), value); err != nil {
			return err
		}
	}
	return l.save(dir)
}

// tensorValues is where a parameter's values in one of the buffers come from.
type tensorValues func(from *engine.Buffer, p *nn.Param) ([]float32, error)

func (m *Model) valuesOn(dev engine.Device) tensorValues {
	return func(from *engine.Buffer, p *nn.Param) ([]float32, error) { return m.Params.Read(dev, from, p) }
}

// writeTensors writes one of the parameters' buffers under the parameters' names.
func (m *Model) writeTensors(from *engine.Buffer, path string, values tensorValues) error {
	var entries []safetensors.Entry
	for _, p := range m.Params.In(from) {
		entries = append(entries, safetensors.Floats(p.Name, p.Shape, func() ([]float32, error) { return values(from, p) }))
	}
	return writeEntries(path, entries)
}

// finite are the values without those that are none, for which it fails.
func (v tensorValues) finite() tensorValues {
	return func(from *engine.Buffer, p *nn.Param) ([]float32, error) {
		x, err := v(from, p)
		if err == nil && !allFinite(x) {
			err = &DivergedError{fmt.Sprintf("%s has become infinite or no number", p.Name)}
		}
		return x, err
	}
}

func allFinite(x []float32) bool {
	const exponent = 0x7f80_0000 // all ones: infinite, or no number
	for _, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return false
		}
	}
	return true
}

// tensorFile is a safetensors file or a set of shards.
type tensorFile interface {
	Names() []string
	Tensor(name string) (safetensors.Tensor, bool)
	ReadFloats(name string, from int, dst []float32) error
}

// checkTensors says which of the parameters a file lacks or has in another shape,
// and what it has that is none of the model's.
func (m *Model) checkTensors(path string, f tensorFile, params []*nn.Param) error {
	for _, p := range params {
		t, ok := f.Tensor(p.Name)
		switch {
		case !ok:
			return fmt.Errorf("%s: tensor %q is missing", path, p.Name)
		case !slices.Equal(t.Shape, p.Shape):
			return fmt.Errorf("%s: tensor %q has shape %v, the configuration asks for %v", path, p.Name, t.Shape, p.Shape)
		}
	}
	for _, name := range f.Names() {
		if m.Params.ByName(name) == nil {
			return fmt.Errorf("%s: tensor %q is none of the model's", path, name)
		}
	}
	return nil
}

// readWeights fills the weights from a model's folder.
func (m *Model) readWeights(dev engine.Device, dir string) error {
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return err
	}
	defer set.Close()
	return m.fill(dev, m.Params.Weights, dir, set)
}

// readTensors fills one of the parameters' buffers from a file.
func (m *Model) readTensors(dev engine.Device, to *engine.Buffer, path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.fill(dev, to, path, f)
}

// fill takes every parameter of a buffer from a file that has nothing else.
func (m *Model) fill(dev engine.Device, to *engine.Buffer, path string, f tensorFile) error {
	params := m.Params.In(to)
	if err := m.checkTensors(path, f, params); err != nil {
		return err
	}
	for _, p := range params {
		read := func(from int, dst []float32) error { return f.ReadFloats(p.Name, from, dst) }
		if err := m.Params.Fill(dev, to, p, p.Shape[0], read); err != nil {
			return err
		}
	}
	return nil
}

// Loaded is a model that is ready on a device. Close gives its memory back.
type Loaded struct {
	*Model
	Language *Language
	Device   engine.Device
}

// Load reads a model onto a device, for use without training: a model's directory,
// or a bare decoder as OpenPretrained takes it, which reads text alone.
func Load(path string, dev engine.Device) (*Loaded, error) { return LoadAs(path, dev, shaders.F32) }

// LoadAs is Load with matrices and activations stored as t: F32, BF16 or F16.
func LoadAs(path string, dev engine.Device, t shaders.Type) (*Loaded, error) {
	bare, err := isDecoder(path)
	if err != nil {
		return nil, err
	}
	if bare {
		return loadDecoder(path, dev, t)
	}
	return loadModel(path, dev, t)
}

// isDecoder says whether the path is a GGUF file, or a folder whose config.json
// describes anything but our own model.
func isDecoder(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return true, err
	}
	file := filepath.Join(path, "config.json")
	text, err := smallfile.Read(file, smallfile.Config)
	if err != nil {
		return false, err
	}
	var c struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	return c.ModelType != modelType, nil
}

func loadDecoder(path string, dev engine.Device, t shaders.Type) (*Loaded, error) {
	p, err := OpenPretrained(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	l, err := p.Language(0)
	if err != nil {
		return nil, err
	}
	m, err := NewModel(p.config(), Init{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := p.check(m); err != nil { // before memory is asked for
		return nil, err
	}
	m.pack(t)
	return onDevice(m, l, dev, func() error { return p.load(dev, m, l, 0) })
}

// onDevice gives a model memory and fills it.
func onDevice(m *Model, l *Language, dev engine.Device, fill func() error) (*Loaded, error) {
	err := m.allocate(dev, false)
	if err == nil {
		err = fill()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return &Loaded{m, l, dev}, nil
}

func loadModel(dir string, dev engine.Device, t shaders.Type) (*Loaded, error) {
	m, l, err := openModel(dir)
	if err != nil {
		return nil, err
	}
	m.pack(t)
	return onDevice(m, l, dev, func() error { return m.readWeights(dev, dir) })
}

// openModel reads everything of a model's directory but the weights.
func openModel(dir string) (*Model, *Language, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is no model's folder; training starts from a decoder's file by --decoder", dir)
	}
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	l, err := loadLanguage(dir, c.Vision.Patches())
	if err != nil {
		return nil, nil, err
	}
	if n := l.Tokenizer.Len(); n > c.Text.VocabSize || int(l.ImageID()) != c.ImageTokenID {
		return nil, nil, fmt.Errorf("%s: the tokenizer has %d ids with <|image|> as %d, config.json has %d with %d", dir, n, l.ImageID(), c.Text.VocabSize, c.ImageTokenID)
	}
	m, err := NewModel(c, Init{})
	return m, l, err
}

func writeJSON(path string, value any) error {
	data, err := indented(value)
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

func indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	return append(data, '\n'), err
}
