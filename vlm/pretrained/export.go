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

// ExportOptions are the inputs of Export.
type ExportOptions struct {
	Model       string // a model folder, or a decoder in any form Open reads
	Out         string
	DecoderOnly bool   // write only the decoder of a model folder, in a form that transformers reads
	DType       string // f32, f16 or bf16
	MMProj      string // file of the embedders of a Gemma 4 whose decoder is Model, in llama.cpp's form; "" = none
	Adapter     string // folder of an adapter to merge into the model; "" = none
	Quantize    string // write one GGUF file with tensors of this type, one of Quantizations; "" = a folder
}

// Export writes a model with another dtype, or its decoder as a folder that transformers reads. A
// pretrained decoder, such as a GGUF file, always becomes such a folder. Files appear in Out only
// when they are complete.
func Export(ctx context.Context, o ExportOptions) (Description, error) {
	if o.Quantize != "" {
		return exportGGUF(ctx, o)
	}
	p, err := openSource(o)
	if err != nil {
		return Description{}, err
	}
	defer p.Close()
	switch {
	case p.Whole == nil:
		return exportDecoder(ctx, p, o)
	case p.Whole.IsGemma():
		return exportGemma(ctx, p, o)
	}
	return exportModel(ctx, p, o)
}

// exportModel writes a model as a folder with another dtype.
func exportModel(ctx context.Context, p *Decoder, o ExportOptions) (Description, error) {
	m, proc, err := p.Structure()
	if err != nil {
		return Description{}, err
	}
	entries, err := modelEntries(ctx, p, m, o.DType, func(name string) string { return name })
	if err != nil {
		return Description{}, err
	}
	err = writeExport(o.Out, func(dir string) error {
		return errors.Join(SaveConfig(m, proc, dir), writeEntries(filepath.Join(dir, WeightsFile), entries))
	})
	return Description{Config: m.Config, Parameters: m.Params.Count()}, err
}

// Structure makes the model that the files describe, which have all of its parameters, without weights.
func (p *Decoder) Structure() (*vlm.Model, *vlm.Processor, error) {
	m, proc, err := p.structure()
	if err == nil {
		err = p.Check(m)
	}
	return m, proc, err
}

// modelEntries makes the file entries of a model's parameters; fileName is the name of one.
func modelEntries(ctx context.Context, p *Decoder, m *vlm.Model, dtype string, fileName func(name string) string) (entries []safetensors.Entry, err error) {
	for _, param := range m.Params.All() {
		name, _ := p.fileName(param)
		e, err := exportEntry(ctx, fileName(param.Name), param, dtype, func(dst []float32) error { return p.weights.read(name, 0, dst) })
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// openSource opens what is to be exported: a model with its embedder, or a decoder.
func openSource(o ExportOptions) (p *Decoder, err error) {
	if o.Adapter != "" {
		if p, err = openMerged(o.Model, o.MMProj, o.Adapter); err == nil && o.DecoderOnly {
			p.Whole = nil
		}
		return p, err
	}
	if !o.DecoderOnly {
		return OpenParts(o.Model, o.MMProj)
	}
	isDecoder, err := IsDecoder(o.Model)
	switch {
	case err != nil:
		return nil, err
	case isDecoder:
		return Open(o.Model)
	case isForeign(o.Model):
		if p, err = openWhole(o.Model); err == nil {
			p.Whole = nil
		}
		return p, err
	}
	return openModelDecoder(o.Model)
}

// openModelDecoder opens the decoder of a model folder, including <|image|>.
func openModelDecoder(dir string) (*Decoder, error) {
	if isFile(dir) {
		p, err := openGGUF(dir)
		if err == nil {
			p.Whole = nil
			p.weights.(*ggufSource).withoutEmbedder = true
		}
		return p, err
	}
	c, err := vlm.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return nil, err
	}
	return &Decoder{
		Path: dir, Text: c.Text, weights: modelSource{&setSource{Set: set, prefix: "model."}},
		processor: func(patches int) (*vlm.Processor, error) { return loadProcessor(dir, patches) },
	}, nil
}

// modelSource adds the prefix that decoder parameters have in a model folder.
type modelSource struct{ *setSource }

func (s modelSource) shape(name string) ([]int, bool) {
	return s.setSource.shape(vlm.DecoderPrefix + name)
}

func (s modelSource) read(name string, from int, dst []float32) error {
	return s.setSource.read(vlm.DecoderPrefix+name, from, dst)
}

func (s modelSource) unexpected(known func(string) bool) string {
	return s.setSource.unexpected(func(name string) bool {
		name, ok := strings.CutPrefix(name, vlm.DecoderPrefix)
		return !ok || known(name)
	})
}

func exportDecoder(ctx context.Context, p *Decoder, o ExportOptions) (Description, error) {
	proc, err := p.Processor(0)
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
	whole := p.wholeFolder()
	if o.DecoderOnly {
		whole = nil
	}
	config, entries, err := p.exportedParts(ctx, whole, proc, o.DType)
	if err != nil {
		return Description{}, err
	}
	for _, param := range m.Params.All() {
		name := strings.TrimPrefix(param.Name, vlm.DecoderPrefix)
		fileName := name
		if whole != nil {
			fileName = whole.fileName(name)
		}
		e, err := exportEntry(ctx, fileName, param, o.DType, func(dst []float32) error { return p.readForHub(name, dst) })
		if err != nil {
			return Description{}, err
		}
		entries = append(entries, e)
	}
	err = writeExport(o.Out, func(dir string) error {
		return errors.Join(
			WriteJSON(filepath.Join(dir, "config.json"), config),
			WriteJSON(filepath.Join(dir, "generation_config.json"), proc.GenerationConfig()),
			SaveProcessor(proc, dir),
			writeEntries(filepath.Join(dir, WeightsFile), entries),
		)
	})
	return Description{Config: m.Config, Parameters: m.Params.Count()}, err
}

// exportedParts returns config.json of an exported decoder, and the entries of the parts that it has
// besides in a whole folder, nil for none.
func (p *Decoder) exportedParts(ctx context.Context, whole *setSource, proc *vlm.Processor, dtype string) (config map[string]any, entries []safetensors.Entry, err error) {
	if whole == nil {
		config, err = decoderConfig(p.Text, proc, dtype)
		return config, nil, err
	}
	if config, err = p.wholeConfig(proc, dtype); err != nil {
		return nil, nil, err
	}
	entries, err = whole.otherEntries(ctx, dtype)
	return config, entries, err
}

// readForHub reads a parameter as Hugging Face's files hold it.
func (p *Decoder) readForHub(name string, dst []float32) error {
	if err := p.weights.read(name, 0, dst); err != nil || !p.Text.UnitNorms() || !isNorm(name) {
		return err
	}
	for i := range dst {
		dst[i]--
	}
	return nil
}

// decoderConfig returns config.json of an exported decoder.
func decoderConfig(c vlm.TextConfig, proc *vlm.Processor, dtype string) (map[string]any, error) {
	if s := c.RopeScaling; s != nil && s.Type == "frequency_factors" {
		return nil, fmt.Errorf("its RoPE frequencies are given by tensor %q, which config.json cannot express", ropeFactors)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	out, err := vlm.DecodeFields(text)
	if err != nil {
		return nil, err
	}
	out["architectures"] = []string{vlm.Architectures[c.ModelType]}
	out["torch_dtype"] = torchDTypes[dtype]
	if eos := proc.EOSTokenID(); eos != nil {
		out["eos_token_id"] = eos
	}
	return out, nil
}

// exportEntry makes the file entry of a parameter, which is read when it is written.
func exportEntry(ctx context.Context, name string, p *nn.Param, dtype string, read func(dst []float32) error) (safetensors.Entry, error) {
	return floatEntry(name, dtype, p.Shape, func() ([]float32, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x := make([]float32, p.Bytes()/4)
		return x, read(x)
	})
}

// floatEntry makes the file entry of a tensor of a dtype.
func floatEntry(name, dtype string, shape []int, values func() ([]float32, error)) (safetensors.Entry, error) {
	if dtype == "f32" {
		return safetensors.Floats(name, shape, values), nil
	}
	return safetensors.HalfFloats(name, strings.ToUpper(dtype), shape, values)
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
