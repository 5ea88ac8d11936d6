package vlmtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/gemmatest"
	"patchwork/internal/gguftest"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm/pretrained"
)

// Gemma12B is the decoder's part of Gemma 4 12B's config.json.
const Gemma12B = `{"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text",
	"vocab_size": 262144, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16,
	"num_key_value_heads": 8, "head_dim": 256, "num_global_key_value_heads": 1, "global_head_dim": 512, "attention_k_eq_v": true,
	"sliding_window": 1024, "use_bidirectional_attention": "vision", "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
	"rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
		"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
	"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "tie_word_embeddings": true}}`

// NewTinyGemma is the golden Gemma 4 with its embedders, and a tokenizer of control tokens, bytes and
// words that no text has. config is the name of its config.json.
func NewTinyGemma(t testing.TB, config string) *TinyDecoder {
	t.Helper()
	d := GoldenDecoder(t, "tiny_gemma4", config)
	d.Tokens = TinyTokens{File: require.Value(gemmatest.Tokenizer(t).MarshalJSON())(t)}
	d.TokenizerConfig = string(require.Value(json.Marshal(gemmatest.TokenizerConfig(t)))(t))
	d.Generation = gemmatest.Generation
	return d
}

// GoldenDecoder is a golden model whose tensors have Hugging Face's names, without a tokenizer.
func GoldenDecoder(t testing.TB, family, config string) *TinyDecoder {
	t.Helper()
	dir := golden.Dir(t, family)
	d := &TinyDecoder{Shapes: map[string][]int{}, Weights: map[string][]float32{}}
	golden.JSON(t, filepath.Join(dir, config), &d.Config)
	f, err := safetensors.Open(filepath.Join(dir, pretrained.WeightsFile))
	require.NoError(t, err)
	defer f.Close()
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		d.Shapes[name], d.Weights[name] = x.Shape, require.Value(f.Float32(name))(t)
	}
	return d
}

// MMProj writes the golden embedders as llama.cpp's converter does: values of patches by channel, the table
// of positions by axis.
func (d *TinyDecoder) MMProj(t testing.TB, pairs ...gguftest.Pair) string {
	t.Helper()
	var tensors []gguftest.Tensor
	for from, to := range map[string]string{
		"model.vision_embedder.patch_ln1.": "v.patch_norm.1.", "model.vision_embedder.patch_dense.": "v.patch_embd.", "model.vision_embedder.patch_ln2.": "v.patch_norm.2.",
		"model.vision_embedder.pos_norm.": "v.patch_norm.3.", "model.embed_vision.embedding_projection.": "mm.input_projection.", "model.embed_audio.embedding_projection.": "mm.a.input_projection.",
	} {
		for _, kind := range []string{"weight", "bias"} {
			values, ok := d.Weights[from+kind]
			if !ok {
				continue
			}
			shape := d.Shapes[from+kind]
			if to == "v.patch_norm.1." || to == "v.patch_embd." && kind == "weight" {
				values = byChannel(values, shape[len(shape)-1])
			}
			tensors = append(tensors, gguftest.Floats(to+kind, shape, values))
		}
	}
	const table = "model.vision_embedder.pos_embedding"
	shape := d.Shapes[table]
	positions := append(AxisOf(d.Weights[table], false, shape[2]), AxisOf(d.Weights[table], true, shape[2])...)
	tensors = append(tensors, gguftest.Floats("v.position_embd.weight", []int{2, shape[0], shape[2]}, positions))
	if pairs == nil {
		pairs = gguftest.Pairs("general.architecture", "clip", "clip.has_vision_encoder", true, "clip.has_audio_encoder", true,
			"clip.vision.projector_type", "gemma4uv", "clip.audio.projector_type", "gemma4ua", "clip.vision.attention.layer_norm_epsilon", float32(1e-6))
	}
	path := filepath.Join(t.TempDir(), "mmproj.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(3, pairs, tensors), 0o644))
	return path
}

// byChannel reorders patches of size values from (row, column, channel) to (channel, row, column).
func byChannel(values []float32, size int) (out []float32) {
	for ; len(values) > 0; values = values[size:] {
		for channel := range 3 {
			for pixel := range size / 3 {
				out = append(out, values[3*pixel+channel])
			}
		}
	}
	return out
}

// AxisOf are the vectors of columns or of rows in a table [side, 2, cols].
func AxisOf(table []float32, rows bool, cols int) (out []float32) {
	if rows {
		table = table[cols:]
	}
	for ; len(table) >= cols; table = table[min(2*cols, len(table)):] {
		out = append(out, table[:cols]...)
	}
	return out
}
