package pretrained

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// ExportOptions say what is written again, and how.
type ExportOptions struct {
	Model       string // a model's folder, or a decoder as Open takes it
	Out         string
	DecoderOnly bool   // of a model's folder only the decoder, as transformers reads it
	DType       string // f32, f16 or bf16
}

// Export writes a model again: with other floats, or its decoder alone as a folder
// that transformers opens. A decoder, such as a GGUF file, always becomes such a
// folder. What it writes has its name in Out when it is whole; ctx ends it before.
func Export(ctx context.Context, o ExportOptions) (Description, error) {
	bare, err := IsDecoder(o.Model)
	if err != nil {
		return Description{}, err
	}
	if !bare && !o.DecoderOnly {
		return exportModel(ctx, o)
	}
	open := Open
	if !bare {
		open = openOwnDecoder
	}
	p, err := open(o.Model)
	if err != nil {
		return Description{}, err
	}
	defer p.Close()
	return exportDecoder(ctx, p, o)
}

// openOwnDecoder opens the decoder of a model of ours, <|image|> included.
func openOwnDecoder(dir string) (*Decoder, error) {
	c, err := vlm.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	return &Decoder{
		Path: dir, Text: c.Text, weights: ownSource{&setSource{Set: set}},
		processor: func(patches int) (*vlm.Processor, error) { return loadProcessor(dir, patches) },
	}, nil
}

// ownSource finds Hugging Face's names behind the prefix that they have in our
// files.
type ownSource struct{ *setSource }

func (s ownSource) shape(name string) ([]int, bool) {
	return s.setSource.shape(vlm.DecoderPrefix + name)
}

func (s ownSource) read(name string, from int, dst []float32) error {
	return s.setSource.read(vlm.DecoderPrefix+name, from, dst)
}

func (s ownSource) unexpected(known func(string) bool) string {
	return s.setSource.unexpected(func(name string) bool {
		name, ok := strings.CutPrefix(name, vlm.DecoderPrefix)
		return !ok || known(name)
	})
}

func exportDecoder(ctx context.Context, p *Decoder, o ExportOptions) (Description, error) {
	l, err := p.Processor(0)
	if err != nil {
		return Description{}, err
	}
	m, err := vlm.NewModel(p.Config(), vlm.Init{})
	if err != nil {
		return Description{}, fmt.Errorf("%s: %w", p.Path, err)
	}
	if err := p.Check(m); err != nil {
		return Description{}, err
	}
	config, err := decoderConfig(p.Text, l, o.DType)
	if err != nil {
		return Description{}, err
	}
	var entries []safetensors.Entry
	for _, param := range m.Params.All() {
		name := strings.TrimPrefix(param.Name, vlm.DecoderPrefix)
		e, err := exportEntry(ctx, name, param, o.DType, func(dst []float32) error { return p.weights.read(name, 0, dst) })
		if err != nil {
			return Description{}, err
		}
		entries = append(entries, e)
	}
	err = writeExport(o.Out, func(dir string) error {
		return errors.Join(
			WriteJSON(filepath.Join(dir, "config.json"), config),
			WriteJSON(filepath.Join(dir, "generation_config.json"), l.GenerationConfig()),
			SaveProcessor(l, dir),
			writeEntries(filepath.Join(dir, WeightsFile), entries),
		)
	})
	return Description{Config: m.Config, Parameters: m.Params.Count()}, err
}

// decoderConfig is the decoder's own config.json.
func decoderConfig(c vlm.TextConfig, l *vlm.Processor, dtype string) (map[string]any, error) {
	if s := c.RopeScaling; s != nil && s.Type == "frequency_factors" {
		return nil, fmt.Errorf("its RoPE has factors of its own (tensor %q) that no config.json can say", ropeFactors)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	out["architectures"] = []string{vlm.Architectures[c.ModelType]}
	out["torch_dtype"] = map[string]string{"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]
	if eos := l.EOSTokens(); eos != nil {
		out["eos_token_id"] = eos
	}
	return out, nil
}

// exportModel writes a model's folder with other floats.
func exportModel(ctx context.Context, o ExportOptions) (Description, error) {
	m, l, err := OpenFolder(o.Model)
	if err != nil {
		return Description{}, err
	}
	set, err := safetensors.OpenSet(o.Model)
	if err != nil {
		return Description{}, err
	}
	defer set.Close()
	if err := checkTensors(m, o.Model, set, m.Params.All()); err != nil {
		return Description{}, err
	}
	var entries []safetensors.Entry
	for _, p := range m.Params.All() {
		e, err := exportEntry(ctx, p.Name, p, o.DType, func(dst []float32) error { return set.ReadFloats(p.Name, 0, dst) })
		if err != nil {
			return Description{}, err
		}
		entries = append(entries, e)
	}
	err = writeExport(o.Out, func(dir string) error {
		return errors.Join(SaveConfig(m, l, dir), writeEntries(filepath.Join(dir, WeightsFile), entries))
	})
	return Description{Config: m.Config, Parameters: m.Params.Count()}, err
}

// exportEntry is a parameter in the type asked for, read when its turn comes.
func exportEntry(ctx context.Context, name string, p *nn.Param, dtype string, read func(dst []float32) error) (safetensors.Entry, error) {
	values := func() ([]float32, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x := make([]float32, p.Bytes()/4)
		return x, read(x)
	}
	if dtype == "f32" {
		return safetensors.Floats(name, p.Shape, values), nil
	}
	return safetensors.HalfFloats(name, strings.ToUpper(dtype), p.Shape, values)
}

// writeEntries writes and syncs a safetensors file.
func writeEntries(path string, entries []safetensors.Entry) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = safetensors.Write(f, map[string]string{"format": "pt"}, entries)
	return errors.Join(err, f.Sync(), f.Close())
}
