package pretrained

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// wholeFolder returns the files of a Hugging Face folder whose model has other parts than the decoder,
// such as Gemma 4's embedders; nil: it has none.
func (p *Decoder) wholeFolder() *setSource {
	source := p.weights
	if merged, ok := source.(*mergedSource); ok {
		source = merged.weightSource
	}
	set, ok := source.(*setSource)
	if !ok || !strings.Contains(set.prefix, "language_model") {
		return nil
	}
	return set
}

// nestedParts are the names of Gemma's embedders as transformers holds them in memory, by the beginnings
// of those in the hub's files.
var nestedParts = [][2]string{
	{"vision_embedder.", "model.embed_vision."}, {"embed_vision.", "model.embed_vision.multimodal_embedder."},
	{"embed_audio.", "model.embed_audio.multimodal_embedder."},
}

// partName is the name in the files of a parameter that is not the decoder's.
func (s *setSource) partName(name string) string {
	for _, part := range nestedParts {
		rest, ok := strings.CutPrefix(name, part[0])
		if !ok {
			continue
		}
		for _, file := range []string{"model." + name, part[1] + rest} {
			if _, ok := s.Tensor(file); ok {
				return file
			}
		}
	}
	return name
}

// positionAxis returns the files' table of both axes for Gemma's table of positions along one: 0 is that of
// columns. ok is false for other parameters.
func positionAxis(name string) (table string, axis int, ok bool) {
	if table, ok = strings.CutSuffix(name, "pos_embedding.x"); ok {
		return table + "pos_embedding", 0, true
	}
	table, ok = strings.CutSuffix(name, "pos_embedding.y")
	return table + "pos_embedding", 1, ok
}

// jointPositions is positionAxis in files that have one table; ours have two.
func (s *setSource) jointPositions(name string) (table string, axis int, ok bool) {
	if _, ours := s.Tensor(name); ours {
		return "", 0, false
	}
	return positionAxis(name)
}

// readAxis reads whole rows of an axis of a table of positions [side, 2, E].
func readAxis(f tensorFile, name string, axis, from int, dst []float32) error {
	t, ok := f.Tensor(name)
	if !ok || len(t.Shape) != 3 {
		return fmt.Errorf("tensor %q is missing or not of three axes", name)
	}
	cols := t.Shape[2]
	for row := from / cols; len(dst) > 0; row, dst = row+1, dst[cols:] {
		if err := f.ReadFloats(name, (2*row+axis)*cols, dst[:cols]); err != nil {
			return err
		}
	}
	return nil
}

// joinAxes makes a table of positions [side, 2, size] of those along both axes, [side, size] each.
func joinAxes(x, y []float32, size int) []float32 {
	out := make([]float32, 0, len(x)+len(y))
	for at := 0; at+size <= min(len(x), len(y)); at += size {
		out = append(append(out, x[at:at+size]...), y[at:at+size]...)
	}
	return out
}

// otherEntries are the file entries of the parts that are not the decoder's, copied.
func (s *setSource) otherEntries(ctx context.Context, dtype string) (entries []safetensors.Entry, err error) {
	for _, name := range s.Names() {
		if s.paramName(name) != "" {
			continue
		}
		t, _ := s.Tensor(name)
		e, err := floatEntry(name, dtype, t.Shape, func() ([]float32, error) {
			x := make([]float32, t.Size())
			return x, errors.Join(ctx.Err(), s.ReadFloats(name, 0, x))
		})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// wholeConfig is config.json of a folder with all parts: as it was read, but for what an export
// changes.
func (p *Decoder) wholeConfig(proc *vlm.Processor, dtype string) (map[string]any, error) {
	out, err := vlm.DecodeFields(p.config)
	if err != nil {
		return nil, err
	}
	if text, ok := out["text_config"].(map[string]any); ok {
		text["vocab_size"] = p.Text.VocabSize
	}
	for _, key := range []string{"dtype", "torch_dtype"} {
		if _, ok := out[key]; ok || key == "dtype" {
			out[key] = torchDTypes[dtype]
		}
	}
	if eos := proc.EOSTokenID(); eos != nil {
		out["eos_token_id"] = eos
	}
	return out, nil
}

// torchDTypes are PyTorch's names of dtypes.
var torchDTypes = map[string]string{"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
