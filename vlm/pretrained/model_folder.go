package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patchwork/engine"
	"patchwork/internal/durable"
	"patchwork/nn"
	"patchwork/nn/gguf"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
	"patchwork/vlm"
)

// WeightsFile is the name of the weights in a model folder.
const WeightsFile = "model.safetensors"

// Save writes a model folder: configuration, weights, tokenizer and the small files that Hugging
// Face's tools read.
func Save(m *vlm.Model, proc *vlm.Processor, dir string, values TensorValues) error {
	if err := SaveConfig(m, proc, dir); err != nil {
		return err
	}
	return WriteTensors(m, m.Params.Weights, filepath.Join(dir, WeightsFile), values)
}

// SaveConfig writes a model folder without its weights.
func SaveConfig(m *vlm.Model, proc *vlm.Processor, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, value := range map[string]any{
		"config.json":              m.Config,
		"preprocessor_config.json": preprocessorConfig(m.Config),
		"generation_config.json":   proc.GenerationConfig(),
	} {
		if err := WriteJSON(filepath.Join(dir, name), value); err != nil {
			return err
		}
	}
	return SaveProcessor(proc, dir)
}

// preprocessorConfig is preprocessor_config.json.
func preprocessorConfig(c vlm.Config) map[string]any {
	out := map[string]any{}
	if v := c.Vision; !v.None() {
		out = map[string]any{
			"image_processor_type": vlm.ModelType, "size": map[string]int{"shortest_edge": v.ImageSize},
			"crop_size": v.ImageSize, "patch_size": v.PatchSize,
			"resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255, "do_normalize": false,
		}
	}
	if c.Vision.Embedder != "" {
		out["do_normalize"], out["image_mean"], out["image_std"] = true, []float64{0.5, 0.5, 0.5}, []float64{0.5, 0.5, 0.5}
	}
	if c.Vision.KeepsAspect() {
		delete(out, "size")
		delete(out, "crop_size")
		out["max_patches"] = c.Vision.MaxPatches
	}
	if a := c.Audio; !a.None() { // the names of transformers' feature extractors
		out["feature_extractor_type"], out["sampling_rate"] = vlm.ModelType, a.SampleRate
		out["audio_samples_per_token"], out["hop_length"] = a.FrameSize, a.Hop()
	}
	return out
}

// TensorValues returns a parameter's values in one of the parameters' buffers.
type TensorValues func(from *engine.Buffer, p *nn.Param) ([]float32, error)

// ValuesOn returns values read from the device.
func ValuesOn(m *vlm.Model, dev engine.Device) TensorValues {
	return func(from *engine.Buffer, p *nn.Param) ([]float32, error) { return m.Params.Read(dev, from, p) }
}

// WriteTensors writes one of the parameters' buffers to a safetensors file.
func WriteTensors(m *vlm.Model, from *engine.Buffer, path string, values TensorValues) error {
	var entries []safetensors.Entry
	for _, p := range m.Params.In(from) {
		entries = append(entries, safetensors.Floats(p.Name, p.Shape, func() ([]float32, error) { return values(from, p) }))
	}
	return writeEntries(path, entries)
}

// tensorFile is a safetensors file or a set of shards.
type tensorFile interface {
	Names() []string
	Tensor(name string) (safetensors.Tensor, bool)
	ReadFloats(name string, from int, dst []float32) error
}

// checkTensors returns an error for a parameter that is missing in a file or has another shape,
// and for a tensor that is not a parameter of the model.
func checkTensors(m *vlm.Model, path string, f tensorFile, params []*nn.Param) error {
	for _, p := range params {
		t, ok := f.Tensor(p.Name)
		switch {
		case !ok:
			return fmt.Errorf("%s: tensor %q is missing", path, p.Name)
		case !slices.Equal(t.Shape, p.Shape):
			return fmt.Errorf("%s: tensor %q has shape %v, want %v by the configuration", path, p.Name, t.Shape, p.Shape)
		}
	}
	for _, name := range f.Names() {
		if m.Params.ByName(name) == nil {
			return fmt.Errorf("%s: tensor %q is not a parameter of the model", path, name)
		}
	}
	return nil
}

// ReadWeights reads the weights of a model's folder or GGUF file onto the device.
func ReadWeights(m *vlm.Model, dev engine.Device, path string) error {
	if !isFile(path) && !isForeign(path) {
		return readFolder(m, dev, path)
	}
	p, err := openChecked(path, m)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.LoadWeights(dev, m)
}

// openChecked opens the GGUF file or Hugging Face folder of a model, which must have all of its
// parameters.
func openChecked(path string, m *vlm.Model) (*Decoder, error) {
	p, err := openWhole(path)
	if err != nil {
		return nil, err
	}
	if err := p.Check(m); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func readFolder(m *vlm.Model, dev engine.Device, dir string) error {
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return err
	}
	defer set.Close()
	return fill(m, dev, m.Params.Weights, dir, set)
}

// ReadTensors reads one of the parameters' buffers from a file.
func ReadTensors(m *vlm.Model, dev engine.Device, to *engine.Buffer, path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return fill(m, dev, to, path, f)
}

// fill reads all parameters of a buffer from a file that has no other tensors.
func fill(m *vlm.Model, dev engine.Device, to *engine.Buffer, path string, f tensorFile) error {
	params := m.Params.In(to)
	if err := checkTensors(m, path, f, params); err != nil {
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

// Load loads a model folder or a pretrained decoder onto a device for inference.
func Load(path string, dev engine.Device) (*vlm.Runner, error) { return LoadAs(path, dev, shaders.F32) }

// LoadAs is Load with matrices and activations stored as t: F32, BF16 or F16. Quantised matrices
// are decoded.
func LoadAs(path string, dev engine.Device, t shaders.Type) (*vlm.Runner, error) {
	return LoadWith(path, dev, LoadOptions{Type: t})
}

// LoadWith is Load with matrices and activations stored as the options say.
func LoadWith(path string, dev engine.Device, o LoadOptions) (*vlm.Runner, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Adapter != "" {
		return loadAdapted(path, dev, o)
	}
	if o.MMProj != "" {
		return loadSplit(path, dev, o)
	}
	isDecoder, err := IsDecoder(path)
	if err != nil {
		return nil, err
	}
	if isDecoder {
		return loadDecoder(path, dev, o)
	}
	return loadModel(path, dev, o)
}

// IsDecoder reports whether the path is a GGUF file without an image embedder, or a folder whose
// config.json describes a pretrained decoder. A Gemma 4 folder with its embedders is none.
func IsDecoder(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return true, err
	}
	if !info.IsDir() {
		f, err := gguf.Open(path)
		if err != nil {
			return true, err
		}
		return !f.Metadata.Has(keyConfig), f.Close()
	}
	kind, err := folderKind(path)
	return kind == decoderFolder, err
}

func loadDecoder(path string, dev engine.Device, o LoadOptions) (*vlm.Runner, error) {
	p, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	proc, err := p.Processor(0)
	if err != nil {
		return nil, err
	}
	m, err := vlm.NewModel(p.Config(), vlm.Init{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := p.Check(m); err != nil { // before allocating
		return nil, err
	}
	o.store(m, p.format)
	return newRunner(path, m, proc, dev, func() error { return p.Load(dev, m, proc, 0) })
}

// newRunner allocates a model of a path on the device and fills it.
func newRunner(path string, m *vlm.Model, proc *vlm.Processor, dev engine.Device, fill func() error) (*vlm.Runner, error) {
	err := CheckMemory(path, m, 0, dev)
	if err == nil {
		err = m.Allocate(dev, false)
	}
	if err == nil {
		err = fill()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return &vlm.Runner{Model: m, Processor: proc, Device: dev}, nil
}

func loadModel(path string, dev engine.Device, o LoadOptions) (*vlm.Runner, error) {
	m, proc, err := OpenModel(path)
	if err != nil {
		return nil, err
	}
	if m.Config.Adapter != nil {
		return nil, fmt.Errorf("%s has only an adapter's weights; give its base as --model, and the folder adapter of its run as --adapter", path)
	}
	if !isFile(path) && !isForeign(path) {
		o.store(m, nil)
		return newRunner(path, m, proc, dev, func() error { return readFolder(m, dev, path) })
	}
	p, err := openChecked(path, m)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	o.store(m, p.format)
	return newRunner(path, m, proc, dev, func() error { return p.LoadWeights(dev, m) })
}

// loadSplit loads a decoder with embedders in a file of their own.
func loadSplit(path string, dev engine.Device, o LoadOptions) (*vlm.Runner, error) {
	p, err := openSplit(path, o.MMProj)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	m, proc, err := p.Structure()
	if err != nil {
		return nil, err
	}
	o.store(m, p.format)
	return newRunner(path, m, proc, dev, func() error { return p.LoadWeights(dev, m) })
}

// OpenModel reads a model's folder, that of a Gemma 4, or a GGUF file without its weights.
func OpenModel(path string) (*vlm.Model, *vlm.Processor, error) {
	c, proc, err := openConfig(path)
	if err != nil {
		return nil, nil, err
	}
	n := proc.Tokenizer.Len()
	if n > c.Text.VocabSize || !c.Vision.None() && int(proc.ImageID()) != c.ImageTokenID {
		return nil, nil, fmt.Errorf("%s: the tokenizer has %d ids and <|image|> is %d, config.json has %d ids and %d", path, n, proc.ImageID(), c.Text.VocabSize, c.ImageTokenID)
	}
	if !c.Audio.None() && int(proc.AudioID()) != c.AudioTokenID {
		return nil, nil, fmt.Errorf("%s: <|audio|> is %d in the tokenizer and %d in config.json", path, proc.AudioID(), c.AudioTokenID)
	}
	m, err := vlm.NewModel(c, vlm.Init{})
	return m, proc, err
}

// openConfig reads the configuration and the processor of a model.
func openConfig(path string) (c vlm.Config, proc *vlm.Processor, err error) {
	if !isFile(path) && !isForeign(path) {
		if c, err = vlm.ReadConfig(path); err == nil {
			proc, err = loadProcessor(path, c.Vision.Patches())
		}
		return c, proc, hear(c, proc, err)
	}
	p, err := openWhole(path)
	if err != nil {
		return c, nil, err
	}
	defer p.Close()
	if p.Whole == nil {
		return c, nil, fmt.Errorf("%s holds a decoder without an image embedder; to train from it use --decoder", path)
	}
	proc, err = p.processor(p.Whole.Vision.Patches())
	return *p.Whole, proc, hear(*p.Whole, proc, err)
}

// hear adds <|audio|> to the processor of a model that hears.
func hear(c vlm.Config, proc *vlm.Processor, err error) error {
	if err != nil || c.Audio.None() {
		return err
	}
	return proc.HearAudio()
}

// WriteJSON writes a value as indented JSON and syncs the file.
func WriteJSON(path string, value any) error {
	data, err := Indented(value)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// Indented encodes a value as indented JSON with a final newline.
func Indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	return append(data, '\n'), err
}
