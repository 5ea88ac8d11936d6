package pretrained

import (
	"context"
	"encoding/json"
	"errors"
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

// otherEntries are the file entries of the parts that are not the decoder's, copied.
func (s *setSource) otherEntries(ctx context.Context, dtype string) (entries []safetensors.Entry, err error) {
	for _, name := range s.Names() {
		if s.paramName(name) != "" {
			continue
		}
		t, _ := s.Tensor(name)
		values := func() ([]float32, error) {
			x := make([]float32, t.Size())
			return x, errors.Join(ctx.Err(), s.ReadFloats(name, 0, x))
		}
		e := safetensors.Floats(name, t.Shape, values)
		if dtype != "f32" {
			if e, err = safetensors.HalfFloats(name, strings.ToUpper(dtype), t.Shape, values); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// wholeConfig is config.json of a folder with all parts: as it was read, but for what an export
// changes.
func (p *Decoder) wholeConfig(proc *vlm.Processor, dtype string) (map[string]any, error) {
	var out map[string]any
	if err := json.Unmarshal(p.config, &out); err != nil {
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
