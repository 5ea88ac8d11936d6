package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"patchwork/nn/gguf"
	"patchwork/shaders/quant"
	"patchwork/vlm"
)

// ggufSource reads a GGUF file's tensors under Hugging Face's names and in its row order.
type ggufSource struct {
	*gguf.File
	mmproj          *gguf.File // Gemma 4's embedders; nil: they are in the same file, if anywhere
	config          vlm.TextConfig
	withoutEmbedder bool // only the decoder of a model with an image embedder is read
}

// Hugging Face's names of the tensors over the vocabulary.
const (
	EmbeddingName = "model.embed_tokens.weight"
	HeadName      = "lm_head.weight"
)

var (
	ggufNames = map[string]string{EmbeddingName: "token_embd.weight", "model.norm.weight": "output_norm.weight", HeadName: "output.weight"}
	// ggufLayerParts maps the names within a layer.
	ggufLayerParts = map[string]string{
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	}
	// gemmaLayerParts are those of Gemma's that differ.
	gemmaLayerParts = map[string]string{
		"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
	}
	// ggufPrefixes map the names of the embedders of images and sound, and of image experts. Where two of
	// GGUF's fit, the last is meant.
	ggufPrefixes = [][2]string{
		{"embedder.", "v."}, {"encoder.", "v.encoder."}, {vlm.ExpertPrefix, "v.experts."}, {"connector.", "mm."}, {vlm.AudioPrefix + "embedding_projection.", "mm.a.input_projection."},
		{"vision_embedder.patch_ln1.", "v.patch_norm.1."}, {"vision_embedder.patch_dense.", "v.patch_embd."},
		{"vision_embedder.patch_ln2.", "v.patch_norm.2."}, {"vision_embedder.pos_norm.", "v.patch_norm.3."},
		{positionsPrefix + ".", "v.position_embd."}, {"embed_vision.embedding_projection.", "mm.input_projection."},
	}

	layerName   = regexp.MustCompile(`^model\.layers\.(\d+)\.(.+)\.(weight|bias)$`)
	layerScalar = regexp.MustCompile(`^model\.layers\.(\d+)\.layer_scalar$`)
)

// modelTypes are the model types of config.json by general.architecture.
var modelTypes = map[string]string{
	"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "gemma4": "gemma4_unified_text",
}

// archOf is general.architecture of a model type.
func archOf(kind string) string {
	for arch, k := range modelTypes {
		if k == kind {
			return arch
		}
	}
	return kind
}

// layerPart is GGUF's name of a part of a layer, or "".
func layerPart(kind, part string) string {
	if name, ok := gemmaLayerParts[part]; ok && isGemma(kind) {
		return name
	}
	return ggufLayerParts[part]
}

// GGUFName returns GGUF's name of a parameter of a model type, or "".
func GGUFName(kind, name string) string {
	if name, ok := ggufNames[name]; ok {
		return name
	}
	if p := layerName.FindStringSubmatch(name); p != nil && layerPart(kind, p[2]) != "" {
		return "blk." + p[1] + "." + layerPart(kind, p[2]) + "." + p[3]
	}
	if p := layerScalar.FindStringSubmatch(name); p != nil {
		return "blk." + p[1] + ".layer_output_scale.weight"
	}
	for _, prefix := range ggufPrefixes {
		if rest, ok := strings.CutPrefix(name, prefix[0]); ok {
			return prefix[1] + rest
		}
	}
	return ""
}

// ggufName is GGUF's name of a parameter.
func (s *ggufSource) ggufName(name string) string { return GGUFName(s.config.ModelType, name) }

func (s *ggufSource) shape(name string) ([]int, bool) {
	if isGemmaPart(name) {
		return s.partShape(name)
	}
	t, ok := s.Tensor(s.ggufName(name))
	return t.Shape, ok
}

func (s *ggufSource) files() []string {
	if s.mmproj != nil {
		return append(s.Names(), s.mmproj.Names()...)
	}
	return s.Names()
}

// Close closes the files.
func (s *ggufSource) Close() error {
	if s.mmproj != nil {
		return errors.Join(s.File.Close(), s.mmproj.Close())
	}
	return s.File.Close()
}

func (s *ggufSource) unexpected(known func(string) bool) string {
	expected := map[string]bool{}
	for name := range ggufNames {
		expected[s.ggufName(name)] = known(name)
	}
	parts := slices.Concat(slices.Collect(maps.Keys(ggufLayerParts)), slices.Collect(maps.Keys(gemmaLayerParts)))
	for layer := range s.config.NumHiddenLayers {
		names := []string{fmt.Sprintf("model.layers.%d.layer_scalar", layer)}
		for _, part := range parts {
			for _, kind := range []string{"weight", "bias"} {
				names = append(names, fmt.Sprintf("model.layers.%d.%s.%s", layer, part, kind))
			}
		}
		for _, name := range names {
			expected[s.ggufName(name)] = expected[s.ggufName(name)] || known(name)
		}
	}
	expected[ggufPositions] = s.withoutEmbedder || known(positionsPrefix+".x")
	tensors := s.Tensors
	if s.mmproj != nil {
		tensors = slices.Concat(tensors, s.mmproj.Tensors)
	}
	for _, t := range tensors {
		for _, prefix := range ggufPrefixes {
			if rest, ok := strings.CutPrefix(t.Name, prefix[1]); ok && t.Name != ggufPositions {
				expected[t.Name] = s.withoutEmbedder || known(prefix[0]+rest)
			}
		}
		if !expected[t.Name] && t.Name != ropeFactors {
			return t.Name
		}
	}
	return ""
}

func (s *ggufSource) read(name string, from int, dst []float32) error {
	if isGemmaPart(name) {
		return s.readPart(name, from, dst)
	}
	ggufName := s.ggufName(name)
	t, ok := s.Tensor(ggufName)
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", s.Name(), ggufName)
	}
	if !s.permuted(name) {
		return s.Read(ggufName, from, dst)
	}
	cols := t.Size() / t.Shape[0]
	return unpermute(dst, from/cols, cols, s.config.HeadDim, func(row int, rows []float32) error {
		return s.Read(ggufName, row*cols, rows)
	})
}

// unpermute reads rows of size elements of T each, from a row on, in Hugging Face's order.
// llama.cpp's RoPE rotates neighbouring rows of a head, Hugging Face's rotates rows half a
// head apart (convert_hf_to_gguf.py, LlamaModel.permute): Hugging Face's row (half, pair) of
// a head is row (pair, half) in the file.
func unpermute[T float32 | byte](dst []T, row, size, head int, read func(row int, rows []T) error) error {
	first, last := row/head*head, (row+len(dst)/size+head-1)/head*head // whole heads
	permuted := make([]T, (last-first)*size)
	if err := read(first, permuted); err != nil {
		return err
	}
	for ; len(dst) > 0; dst, row = dst[size:], row+1 {
		half, pair := row%head/(head/2), row%head%(head/2)
		source := row - row%head + 2*pair + half - first
		copy(dst[:size], permuted[source*size:(source+1)*size])
	}
	return nil
}

func (s *ggufSource) format(name string) (quant.Format, bool) {
	t, ok := s.Tensor(s.ggufName(name))
	if !ok || len(t.Shape) != 2 || isGemmaPart(name) {
		return 0, false
	}
	return t.Type.Quantised()
}

func (s *ggufSource) readBlocks(name string, row int, dst []byte) error {
	ggufName := s.ggufName(name)
	t, ok := s.Tensor(ggufName)
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", s.Name(), ggufName)
	}
	size := int(t.Bytes()) / t.Shape[0]
	read := func(row int, rows []byte) error { return s.ReadBlocks(ggufName, row*size, rows) }
	if !s.permuted(name) {
		return read(row, dst)
	}
	return unpermute(dst, row, size, s.config.HeadDim, read)
}

var queryOrKey = regexp.MustCompile(`^model\.layers\.\d+\.self_attn\.[qk]_proj\.`)

// permuted reports whether the parameter's rows are in llama.cpp's order.
func (s *ggufSource) permuted(name string) bool {
	return s.config.ModelType == "llama" && queryOrKey.MatchString(name)
}
