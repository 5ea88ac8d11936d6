package pretrained

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// peftPrefix is before the names of a model's parameters in PEFT's files.
const peftPrefix = "base_model.model."

// peftName is a parameter's name in PEFT's files: that of transformers' model in memory. Both tables of
// positions of a Gemma 4 have the name of its one.
func peftName(c *vlm.Config, p *nn.Param) string {
	name, inDecoder := strings.CutPrefix(p.Name, vlm.DecoderPrefix)
	switch {
	case !c.IsGemma():
		return peftPrefix + name
	case inDecoder:
		return peftPrefix + hubName(p.Name)
	}
	for _, part := range gemmaInMemory {
		if rest, ok := strings.CutPrefix(name, part[0]); ok {
			name = part[1] + rest
			break
		}
	}
	if table, _, ok := positionAxis(name); ok {
		name = table
	}
	return peftPrefix + name
}

// gemmaInMemory are the beginnings of names of Gemma 4's embedders in transformers' model, by ours.
var gemmaInMemory = [][2]string{
	{"vision_embedder.", "model.embed_vision."}, {"embed_vision.", "model.embed_vision.multimodal_embedder."}, {vlm.AudioPrefix, "model." + vlm.AudioPrefix},
}

// peftConfig is PEFT's adapter_config.json.
func peftConfig(c vlm.Config, base string) map[string]any {
	config := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": true,
		"r": c.Adapter.Rank, "lora_alpha": c.Adapter.Alpha, "lora_dropout": 0.0, "target_modules": c.Adapter.Modules(),
		"bias": "none", "fan_in_fan_out": false, "use_rslora": false, "init_lora_weights": true, "modules_to_save": nil,
	}
	var whole []string
	switch {
	case c.Vision.None():
	case c.Vision.Gemma():
		whole = append(whole, "embed_vision")
	default:
		whole = append(whole, "embedder", "connector")
	}
	if !c.Audio.None() {
		whole = append(whole, "embed_audio")
	}
	if whole != nil {
		config["modules_to_save"] = whole
	}
	return config
}

// peftEntries are the file entries of what an adapter's run has trained.
func peftEntries(m *vlm.Model, values TensorValues) (entries []safetensors.Entry) {
	read := func(p *nn.Param) ([]float32, error) { return values(m.Params.Weights, p) }
	for _, p := range m.Params.In(m.Params.Weights) {
		table, axis, ok := positionAxis(p.Name)
		switch {
		case !ok:
			entries = append(entries, safetensors.Floats(peftName(&m.Config, p), p.Shape, func() ([]float32, error) { return read(p) }))
		case axis == 0:
			entries = append(entries, safetensors.Floats(peftName(&m.Config, p), []int{p.Shape[0], 2, p.Shape[1]}, func() ([]float32, error) {
				x, err := read(p)
				y, errY := read(m.Params.ByName(table + ".y"))
				return joinAxes(x, y, p.Shape[1]), errors.Join(err, errY)
			}))
		}
	}
	return entries
}

// adapterFile is an adapter's weights.
type adapterFile struct {
	*safetensors.File
	config *vlm.Config
}

// openAdapterFile opens an adapter's weights and checks that they are those of the model.
func openAdapterFile(m *vlm.Model, dir string) (*adapterFile, error) {
	path := filepath.Join(dir, AdapterWeightsFile)
	file, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	f := &adapterFile{file, &m.Config}
	if err := f.check(m); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, nil
}

func (f *adapterFile) check(m *vlm.Model) error {
	known := map[string]bool{}
	for _, p := range m.Params.In(m.Params.Weights) {
		name, want := peftName(f.config, p), p.Shape
		if _, _, ok := positionAxis(p.Name); ok {
			want = []int{p.Shape[0], 2, p.Shape[1]}
		}
		known[name] = true
		if t, ok := f.Tensor(name); !ok {
			return fmt.Errorf("tensor %q is missing", name)
		} else if !slices.Equal(t.Shape, want) {
			return fmt.Errorf("tensor %q has shape %v, want %v by config.json", name, t.Shape, want)
		}
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fmt.Errorf("tensor %q is not a parameter of the adapter", name)
		}
	}
	return nil
}

// read reads whole rows of a parameter, from row-major index from on.
func (f *adapterFile) read(p *nn.Param, from int, dst []float32) error {
	name := peftName(f.config, p)
	if _, axis, ok := positionAxis(p.Name); ok {
		return readAxis(f, name, axis, from, dst)
	}
	return f.ReadFloats(name, from, dst)
}
