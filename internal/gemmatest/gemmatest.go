// Package gemmatest makes a Hugging Face folder of the golden Gemma 4 for tests.
package gemmatest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/vlm/tokenizer"
)

// rows is the size of the vocabulary.
const rows = 512

// controlTokens are the control tokens of the tiny Gemma 4 by id.
var controlTokens = map[int]string{
	0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>",
	300: "<|turn>", 301: "<turn|>", 302: "<|channel>", 303: "<channel|>", 304: "<|think|>", 305: "<|tool_response>",
	400: "<|image>", 401: "<|image|>", 402: "<image|>", 403: "<|audio>", 404: "<|audio|>", 405: "<audio|>", 406: "<|video|>",
}

// Generation is generation_config.json: suppressed are the tokens of the model's greedy.json.
var Generation = map[string]any{"eos_token_id": []int{1, 301}, "suppress_tokens": []int{0, 2, 400, 401, 402, 403, 404, 405, 406}}

// TokenizerConfig is tokenizer_config.json, with Gemma 4's chat template.
func TokenizerConfig(t testing.TB) map[string]any {
	t.Helper()
	template, err := os.ReadFile(filepath.Join(golden.Model(t, "Gemma4"), "chat_template.jinja"))
	require.NoError(t, err)
	return map[string]any{"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "chat_template": string(template)}
}

// Folder writes the golden Gemma 4 with its embedders as a folder.
func Folder(t testing.TB) string {
	t.Helper()
	from, dir := golden.Dir(t, "tiny_gemma4"), filepath.Join(t.TempDir(), "gemma")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, name := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	for name, value := range map[string]any{"tokenizer.json": Tokenizer(t), "tokenizer_config.json": TokenizerConfig(t), "generation_config.json": Generation} {
		data, err := json.Marshal(value)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return dir
}

// Tokenizer is a tokenizer of control tokens, bytes and words that no text has.
func Tokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	v := tokenizer.Vocabulary{Pre: tokenizer.Gemma4, Before: []string{"<bos>"}}
	for id := range rows {
		token, kind := fmt.Sprintf("\u2581unused%d", id), tokenizer.KindNormal
		switch control := controlTokens[id]; {
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
	return tok
}
