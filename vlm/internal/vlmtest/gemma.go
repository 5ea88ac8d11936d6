package vlmtest

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"patchwork/internal/gemmatest"
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
