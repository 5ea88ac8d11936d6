package pretrained

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"patchwork/nn"
	"patchwork/nn/gguf"
	"patchwork/vlm"
)

// Gemma 4's embedders in GGUF files, in our one file and in llama.cpp's mmproj alike (llama.cpp,
// conversion/gemma.py, Gemma4UnifiedVisionAudioModel). There the values of a patch are ordered by
// channel, row and column, and one table holds the positions of columns and after them those of rows.
const (
	ggufPositions   = "v.position_embd.weight" // [2, side, E]
	positionsPrefix = "vision_embedder.pos_embedding"
	imageProjector  = "gemma4uv"
	soundProjector  = "gemma4ua"
)

// ofPatchValues reports whether the last axis of a parameter are the values of a patch.
func ofPatchValues(name string) bool {
	return name == "vision_embedder.patch_dense.weight" || strings.HasPrefix(name, "vision_embedder.patch_ln1.")
}

// isGemmaPart reports whether a parameter is one of Gemma's embedders.
func isGemmaPart(name string) bool {
	return slices.ContainsFunc(nestedParts, func(part [2]string) bool { return strings.HasPrefix(name, part[0]) })
}

// toChannels orders the values of patches by channel, row and column instead of row, column and channel;
// fromChannels is its inverse. size is the number of values of a patch.
func toChannels(values []float32, size int) []float32 {
	out := make([]float32, len(values))
	eachPatchValue(len(values), size, func(channels, pixels int) { out[channels] = values[pixels] })
	return out
}

func fromChannels(values []float32, size int) []float32 {
	out := make([]float32, len(values))
	eachPatchValue(len(values), size, func(channels, pixels int) { out[pixels] = values[channels] })
	return out
}

// eachPatchValue calls f with the index of every value of patches in both orders.
func eachPatchValue(n, size int, f func(channels, pixels int)) {
	area := size / 3
	for first := 0; first < n; first += size {
		for i := range size {
			f(first+i, first+i%area*3+i/area)
		}
	}
}

// readPart reads rows of a parameter of the embedders.
func (s *ggufSource) readPart(name string, from int, dst []float32) error {
	f := s.holder(name)
	if _, axis, ok := positionAxis(name); ok {
		t, _ := f.Tensor(ggufPositions)
		return f.Read(ggufPositions, axis*t.Size()/2+from, dst)
	}
	t, ok := f.Tensor(s.ggufName(name))
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", f.Name(), s.ggufName(name))
	}
	if !ofPatchValues(name) || len(dst) == 0 {
		return f.Read(s.ggufName(name), from, dst)
	}
	size := t.Shape[len(t.Shape)-1]
	first := from / size * size // a vector may be read in parts
	whole := make([]float32, (from+len(dst)-first+size-1)/size*size)
	if err := f.Read(s.ggufName(name), first, whole); err != nil {
		return err
	}
	copy(dst, fromChannels(whole, size)[from-first:])
	return nil
}

// partShape is the shape of a parameter of the embedders.
func (s *ggufSource) partShape(name string) ([]int, bool) {
	if _, _, ok := positionAxis(name); ok {
		t, ok := s.holder(name).Tensor(ggufPositions)
		if !ok || len(t.Shape) != 3 || t.Shape[0] != 2 {
			return t.Shape, ok
		}
		return t.Shape[1:], true
	}
	t, ok := s.holder(name).Tensor(s.ggufName(name))
	return t.Shape, ok
}

// holder is the file that has a parameter.
func (s *ggufSource) holder(name string) *gguf.File {
	if s.mmproj != nil && isGemmaPart(name) {
		return s.mmproj
	}
	return s.File
}

// partEntry makes the file entry of a parameter of Gemma's embedders. It has no name for the second table
// of positions, which is in the entry of the first.
func partEntry(ctx context.Context, p *Decoder, param *nn.Param, name string, t gguf.Type) gguf.Entry {
	names, shape := []string{name}, param.Shape
	e := gguf.Entry{Name: GGUFName(p.Text.ModelType, name), Type: t}
	if table, axis, position := positionAxis(name); position {
		if axis == 1 {
			return gguf.Entry{}
		}
		e.Name, names, shape = ggufPositions, []string{table + ".x", table + ".y"}, append([]int{2}, shape...)
	}
	e.Shape = shape
	e.Write = func(w io.Writer) error {
		for _, name := range names {
			values := make([]float32, param.Count())
			if err := p.weights.read(name, 0, values); err != nil {
				return err
			}
			if i := slices.IndexFunc(values, nonFinite); i >= 0 {
				return damagedError(i, values[i])
			}
			if ofPatchValues(name) {
				values = toChannels(values, shape[len(shape)-1])
			}
			if _, err := w.Write(encode(t, values)); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	return e
}

// openSplit opens a Gemma 4 in llama.cpp's form: its decoder, and a file with its embedders.
func openSplit(path, mmproj string) (*Decoder, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("--mmproj belongs to a GGUF file; the folder %s has its embedders inside", path)
	}
	p, err := openGGUF(path)
	if err != nil {
		return nil, err
	}
	source := p.weights.(*ggufSource)
	if p.Whole != nil {
		p.Close()
		return nil, fmt.Errorf("%s has its embedders inside; leave --mmproj out", path)
	}
	if source.mmproj, err = gguf.Open(mmproj); err != nil {
		source.mmproj = nil
		p.Close()
		return nil, fmt.Errorf("--mmproj: %w", err)
	}
	c, err := mmprojConfig(source, p.Config())
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("--mmproj %s: %w", mmproj, err)
	}
	p.Whole = &c
	return p, nil
}

// mmprojConfig completes the configuration of a decoder with that of the embedders in a file. Their sizes
// are those of the tensors.
func mmprojConfig(s *ggufSource, c vlm.Config) (vlm.Config, error) {
	f := s.mmproj
	image, sound, err := projectors(f)
	if err != nil {
		return c, err
	}
	if c.Text.ModelType != modelTypes["gemma4"] {
		return c, fmt.Errorf("it belongs to a gemma4, but %s holds a %s", s.Name(), archOf(c.Text.ModelType))
	}
	eps, ok := f.Metadata.Float("clip.vision.attention.layer_norm_epsilon")
	if !ok || eps <= 0 {
		eps = 1e-6
	}
	fields := map[string]any{}
	if image {
		values, embed := length(f, "v.patch_norm.1.weight", 0), length(f, "v.patch_embd.weight", 0)
		side := int(math.Round(math.Sqrt(float64(values) / 3)))
		if values == 0 || 3*side*side != values || embed == 0 {
			return c, fmt.Errorf("tensor v.patch_norm.1.weight has %d values, want those of a square patch of 3 channels", values)
		}
		fields["vision_config"] = map[string]any{
			"model_patch_size": side, "mm_embed_dim": embed, "mm_posemb_size": length(f, ggufPositions, 1), "rms_norm_eps": shortestDecimal(eps),
		}
	}
	if sound {
		fields["audio_config"] = map[string]any{"audio_embed_dim": length(f, "mm.a.input_projection.weight", 1), "rms_norm_eps": shortestDecimal(eps)}
	}
	tokens, _ := s.Metadata.Texts("tokenizer.ggml.tokens")
	for field, token := range map[string]string{"image_token_id": "<|image|>", "audio_token_id": "<|audio|>"} {
		if fields[field] = slices.Index(tokens, token); fields[field] == -1 {
			return c, fmt.Errorf("the tokenizer of %s has no %s", s.Name(), token)
		}
	}
	return vlm.WithGemmaParts(c.Text, fields)
}

// projectors returns which of Gemma 4's embedders an mmproj has.
func projectors(f *gguf.File) (image, sound bool, err error) {
	if arch, _ := f.Metadata.Text("general.architecture"); arch != "clip" {
		return false, false, fmt.Errorf("general.architecture is %.40q, want clip: it is no mmproj; give the text model as --model", arch)
	}
	for _, one := range []struct {
		keys []string
		want string
		has  *bool
	}{
		{[]string{"clip.vision.projector_type", "clip.projector_type"}, imageProjector, &image},
		{[]string{"clip.audio.projector_type"}, soundProjector, &sound},
	} {
		for _, key := range one.keys {
			kind, ok := f.Metadata.Text(key)
			if ok && kind != one.want {
				return false, false, fmt.Errorf("%s is %.40q; only %s and %s, of Gemma 4's models without encoders, are supported", key, kind, imageProjector, soundProjector)
			}
			*one.has = *one.has || ok
		}
	}
	if !image && !sound {
		return false, false, fmt.Errorf("clip.vision.projector_type and clip.audio.projector_type are missing")
	}
	return image, sound, nil
}

// length is the length of an axis of a tensor, or 0.
func length(f *gguf.File, name string, axis int) int {
	t, ok := f.Tensor(name)
	if !ok || axis >= len(t.Shape) {
		return 0
	}
	return t.Shape[axis]
}
