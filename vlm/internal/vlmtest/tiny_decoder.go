package vlmtest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/gguftest"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

// TinyFamilies are the golden models whose decoders are used as pretrained ones.
var TinyFamilies = []string{"tiny_llama", "tiny_qwen3", "tiny_qwen3_untied"}

// TinyDecoder is the decoder of a golden model, which can be written in every form of pretrained
// decoders.
type TinyDecoder struct {
	Config          map[string]any
	Shapes          map[string][]int
	Weights         map[string][]float32 // by Hugging Face's names
	Tokens          TinyTokens
	TokenizerConfig string         // tokenizer_config.json
	Generation      map[string]any // generation_config.json; nil: none
}

// TinyTokens is a tokenizer: tokenizer.json and its contents.
type TinyTokens struct {
	File   []byte
	Tokens []string
	Kinds  []int32
	Merges []string
}

// NewTinyDecoder returns a decoder with a tokenizer of the given size; the embedding has 300 rows.
func NewTinyDecoder(t testing.TB, family string, tokens int) *TinyDecoder {
	t.Helper()
	dir := golden.Dir(t, family)
	var c struct{ Decoder map[string]any }
	golden.JSON(t, filepath.Join(dir, "config.json"), &c)
	d := &TinyDecoder{Config: c.Decoder, Shapes: map[string][]int{}, Weights: map[string][]float32{}}
	f, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	for _, full := range f.Names() {
		name, ok := strings.CutPrefix(full, vlm.DecoderPrefix)
		if !ok {
			continue
		}
		x, _ := f.Tensor(full)
		values, err := f.Float32(full)
		require.NoError(t, err)
		d.Shapes[name], d.Weights[name] = x.Shape, values
	}
	d.Tokens = NewTinyTokens(t, tokens)
	set, err := pretrained.Presets.ReadFile("presets/shapes/tokenizer_config.json")
	require.NoError(t, err)
	d.TokenizerConfig = string(set)
	return d
}

// NewTinyTokens trains a tokenizer of n tokens.
func NewTinyTokens(t testing.TB, n int) TinyTokens {
	t.Helper()
	text := "what color is the shape? is there a red shape? is there not a green shape? the circle is blue, yes or no. "
	specials := []string{"<|end|>", "<|user|>", "<|assistant|>"}
	tok, err := tokenizer.Train(slices.Values([]string{text}), n, specials)
	require.NoError(t, err)
	if tok.Len() != n {
		t.Fatalf("the tokenizer has %d tokens, want %d", tok.Len(), n)
	}
	var out TinyTokens
	out.File, err = tok.MarshalJSON()
	require.NoError(t, err)
	var f struct{ Model struct{ Merges [][2]string } }
	require.NoError(t, json.Unmarshal(out.File, &f))
	for _, m := range f.Model.Merges {
		out.Merges = append(out.Merges, m[0]+" "+m[1])
	}
	for id := range int32(n) {
		kind := int32(tokenizer.KindNormal)
		if tok.IsSpecial(id) {
			kind = int32(tokenizer.KindControl)
		}
		out.Tokens, out.Kinds = append(out.Tokens, tok.Token(id)), append(out.Kinds, kind)
	}
	return out
}

// Folder writes a Hugging Face folder.
func (d *TinyDecoder) Folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "decoder")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, pretrained.WriteJSON(filepath.Join(dir, "config.json"), d.Config))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), d.Tokens.File, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(d.TokenizerConfig), 0o644))
	if d.Generation != nil {
		require.NoError(t, pretrained.WriteJSON(filepath.Join(dir, "generation_config.json"), d.Generation))
	}
	d.WriteTensors(t, filepath.Join(dir, pretrained.WeightsFile), func(string) bool { return true })
	return dir
}

// WriteTensors writes the tensors selected by want.
func (d *TinyDecoder) WriteTensors(t testing.TB, path string, want func(name string) bool) {
	t.Helper()
	var entries []safetensors.Entry
	for name, values := range d.Weights {
		if want(name) {
			entries = append(entries, safetensors.Floats(name, d.Shapes[name], func() ([]float32, error) { return values, nil }))
		}
	}
	var out bytes.Buffer
	require.NoError(t, safetensors.Write(&out, nil, entries))
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
}

// Sharded writes a Hugging Face folder with two shards.
func (d *TinyDecoder) Sharded(t testing.TB) string {
	t.Helper()
	dir := d.Folder(t)
	require.NoError(t, os.Remove(filepath.Join(dir, pretrained.WeightsFile)))
	shard := func(name string) string {
		if strings.Contains(name, ".layers.1.") {
			return "model-00002-of-00002.safetensors"
		}
		return "model-00001-of-00002.safetensors"
	}
	index := map[string]string{}
	for name := range d.Weights {
		index[name] = shard(name)
	}
	for _, file := range index {
		d.WriteTensors(t, filepath.Join(dir, file), func(name string) bool { return shard(name) == file })
	}
	require.NoError(t, pretrained.WriteJSON(filepath.Join(dir, safetensors.IndexFile), map[string]any{"weight_map": index}))
	return dir
}

// pairs returns the metadata of a GGUF file, overridden by more; nil values remove a key.
func (d *TinyDecoder) pairs(more map[string]any) []gguftest.Pair {
	arch := d.Config["model_type"].(string)
	number := func(key string) uint32 { return uint32(d.Config[key].(float64)) }
	all := gguftest.Pairs(
		"general.architecture", arch,
		arch+".embedding_length", number("hidden_size"), arch+".feed_forward_length", number("intermediate_size"),
		arch+".block_count", number("num_hidden_layers"), arch+".attention.head_count", number("num_attention_heads"),
		arch+".attention.head_count_kv", number("num_key_value_heads"), arch+".attention.key_length", number("head_dim"),
		arch+".context_length", number("max_position_embeddings"), arch+".rope.freq_base", float32(d.Config["rope_theta"].(float64)),
		arch+".attention.layer_norm_rms_epsilon", float32(d.Config["rms_norm_eps"].(float64)),
		"tokenizer.ggml.model", "gpt2", "tokenizer.ggml.pre", "gpt-2", "tokenizer.ggml.tokens", d.Tokens.Tokens,
		"tokenizer.ggml.token_type", d.Tokens.Kinds, "tokenizer.ggml.merges", d.Tokens.Merges, "tokenizer.ggml.eos_token_id", uint32(0),
		"tokenizer.ggml.padding_token_id", uint32(0),
	)
	var set struct {
		Template string `json:"chat_template"`
	}
	_ = json.Unmarshal([]byte(d.TokenizerConfig), &set) // no file, no template
	if set.Template != "" {
		all = append(all, gguftest.Pairs("tokenizer.chat_template", set.Template)...)
	}
	var out []gguftest.Pair
	for _, p := range all {
		value, changed := more[p.Key]
		if changed && value == nil {
			continue
		}
		if changed {
			p.Value = value
		}
		out = append(out, p)
	}
	for key, value := range more {
		if value != nil && !slices.ContainsFunc(out, func(p gguftest.Pair) bool { return p.Key == key }) {
			out = append(out, gguftest.Pair{Key: key, Value: value})
		}
	}
	return out
}

// GGUF writes a GGUF file, with the rows of Llama's queries and keys in llama.cpp's order: within
// a head pair-major instead of half-major (LlamaModel.permute of convert_hf_to_gguf.py).
func (d *TinyDecoder) GGUF(t testing.TB, more map[string]any, change func([]gguftest.Tensor) []gguftest.Tensor) string {
	t.Helper()
	var tensors []gguftest.Tensor
	for name, values := range d.Weights {
		shape := d.Shapes[name]
		if d.Config["model_type"] == "llama" && (strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj")) {
			values = pairsFirst(values, shape[0], int(d.Config["head_dim"].(float64)))
		}
		tensors = append(tensors, gguftest.Floats(pretrained.GGUFName(d.Config["model_type"].(string), name), shape, values))
	}
	slices.SortFunc(tensors, func(a, b gguftest.Tensor) int { return strings.Compare(a.Name, b.Name) })
	if change != nil {
		tensors = change(tensors)
	}
	path := filepath.Join(t.TempDir(), "decoder.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(3, d.pairs(more), tensors), 0o644))
	return path
}

// pairsFirst permutes rows from (head, half, pair) to (head, pair, half).
func pairsFirst(x []float32, rows, headDim int) []float32 {
	cols, out := len(x)/rows, make([]float32, 0, len(x))
	for head := 0; head < rows; head += headDim {
		for pair := range headDim / 2 {
			for half := range 2 {
				row := head + half*headDim/2 + pair
				out = append(out, x[row*cols:(row+1)*cols]...)
			}
		}
	}
	return out
}

// WithRows truncates the embedding.
func (d *TinyDecoder) WithRows(t testing.TB, rows int) *TinyDecoder {
	t.Helper()
	cols := d.Shapes["model.embed_tokens.weight"][1]
	d.Shapes["model.embed_tokens.weight"], d.Weights["model.embed_tokens.weight"] = []int{rows, cols}, d.Weights["model.embed_tokens.weight"][:rows*cols]
	return d
}

// Rename renames a tensor, or with keep copies it.
func (d *TinyDecoder) Rename(from, to string, keep bool) {
	if from == to {
		return
	}
	d.Weights[to], d.Shapes[to] = d.Weights[from], d.Shapes[from]
	if !keep {
		delete(d.Weights, from)
		delete(d.Shapes, from)
	}
}
