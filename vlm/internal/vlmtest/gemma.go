package vlmtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

// Gemma12B is the decoder's part of Gemma 4 12B's config.json.
const Gemma12B = `{"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text",
	"vocab_size": 262144, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16,
	"num_key_value_heads": 8, "head_dim": 256, "num_global_key_value_heads": 1, "global_head_dim": 512, "attention_k_eq_v": true,
	"sliding_window": 1024, "use_bidirectional_attention": "vision", "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6,
	"rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
		"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}},
	"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "tie_word_embeddings": true}}`

// gemmaTokens are the control tokens of the tiny Gemma 4 by id.
var gemmaTokens = map[int]string{
	0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>",
	300: "<|turn>", 301: "<turn|>", 302: "<|channel>", 303: "<channel|>", 304: "<|think|>", 305: "<|tool_response>",
	400: "<|image>", 401: "<|image|>", 402: "<image|>", 403: "<|audio>", 404: "<|audio|>", 405: "<audio|>", 406: "<|video|>",
}

// GemmaSuppressed are the tokens that the tiny Gemma 4 never generates, as in its greedy.json.
var GemmaSuppressed = []int32{0, 2, 400, 401, 402, 403, 404, 405, 406}

// NewTinyGemma is the golden Gemma 4 with its embedders, and a tokenizer of control tokens, bytes and
// words that no text has. config is the name of its config.json.
func NewTinyGemma(t testing.TB, config string) *TinyDecoder {
	t.Helper()
	d := GoldenDecoder(t, "tiny_gemma4", config)
	d.Tokens = gemmaTokenizer(t, 512)
	template, err := os.ReadFile(filepath.Join(golden.Model(t, "Gemma4"), "chat_template.jinja"))
	require.NoError(t, err)
	set := map[string]any{"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "chat_template": string(template)}
	d.TokenizerConfig = string(require.Value(json.Marshal(set))(t))
	d.Generation = map[string]any{"eos_token_id": []int{1, 301}, "suppress_tokens": GemmaSuppressed}
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

func gemmaTokenizer(t testing.TB, rows int) TinyTokens {
	t.Helper()
	v := tokenizer.Vocabulary{Pre: tokenizer.Gemma4, Before: []string{"<bos>"}}
	for id := range rows {
		token, kind := fmt.Sprintf("\u2581unused%d", id), tokenizer.KindNormal
		switch control := gemmaTokens[id]; {
		case control != "":
			token, kind = control, tokenizer.KindControl
		case id >= 4 && id < 260:
			token, kind = fmt.Sprintf("<0x%02X>", id-4), tokenizer.KindByte
		case id == 260:
			token = "\u2581"
		}
		v.Tokens, v.Kinds = append(v.Tokens, token), append(v.Kinds, kind)
	}
	tok, err := tokenizer.FromVocabulary(v)
	require.NoError(t, err)
	return TinyTokens{File: require.Value(tok.MarshalJSON())(t), Tokens: v.Tokens}
}
