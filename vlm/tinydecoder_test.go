package vlm

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
	"patchwork/nn/safetensors"
	"patchwork/vlm/tokenizer"
)

// tinyFamilies are the golden models whose decoders stand for pretrained ones.
var tinyFamilies = []string{"tiny_llama", "tiny_qwen3", "tiny_qwen3_untied"}

// tinyDecoder is a golden model's decoder, to be written in every form that
// pretrained decoders come in.
type tinyDecoder struct {
	config  map[string]any
	shapes  map[string][]int
	weights map[string][]float32 // by Hugging Face's names
	tokens  tinyTokens
	set     string // tokenizer_config.json
}

// tinyTokens is what a tokenizer.json has.
type tinyTokens struct {
	file   []byte
	tokens []string
	kinds  []int32
	merges []string
}

// newTinyDecoder has a tokenizer of so many tokens; the embedding has 300 rows.
func newTinyDecoder(t testing.TB, family string, tokens int) *tinyDecoder {
	t.Helper()
	dir := golden.Dir(t, family)
	var c struct{ Decoder map[string]any }
	golden.JSON(t, filepath.Join(dir, "config.json"), &c)
	d := &tinyDecoder{config: c.Decoder, shapes: map[string][]int{}, weights: map[string][]float32{}}
	f, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	must(t, err)
	defer f.Close()
	for _, full := range f.Names() {
		name, ok := strings.CutPrefix(full, decoderPrefix)
		if !ok {
			continue
		}
		x, _ := f.Tensor(full)
		values, err := f.Float32(full)
		must(t, err)
		d.shapes[name], d.weights[name] = x.Shape, values
	}
	d.tokens = newTinyTokens(t, tokens)
	set, err := presets.ReadFile("presets/shapes/tokenizer_config.json")
	must(t, err)
	d.set = string(set)
	return d
}

func newTinyTokens(t testing.TB, n int) tinyTokens {
	t.Helper()
	text := "what color is the shape? is there a red shape? is there not a green shape? the circle is blue, yes or no. "
	specials := []string{"<|end|>", "<|user|>", "<|assistant|>"}
	tok, err := tokenizer.Train(slices.Values([]string{text}), n, specials)
	must(t, err)
	if tok.Len() != n {
		t.Fatalf("the tokenizer has %d tokens, want %d", tok.Len(), n)
	}
	var out tinyTokens
	out.file, err = tok.MarshalJSON()
	must(t, err)
	var f struct{ Model struct{ Merges [][2]string } }
	must(t, json.Unmarshal(out.file, &f))
	for _, m := range f.Model.Merges {
		out.merges = append(out.merges, m[0]+" "+m[1])
	}
	for id := range int32(n) {
		kind := int32(tokenizer.KindNormal)
		if tok.IsSpecial(id) {
			kind = int32(tokenizer.KindControl)
		}
		out.tokens, out.kinds = append(out.tokens, tok.Token(id)), append(out.kinds, kind)
	}
	return out
}

// folder writes a Hugging Face folder.
func (d *tinyDecoder) folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "decoder")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, writeJSON(filepath.Join(dir, "config.json"), d.config))
	must(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), d.tokens.file, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(d.set), 0o644))
	d.tensors(t, filepath.Join(dir, weightsFile), func(string) bool { return true })
	return dir
}

// tensors writes those that are wanted.
func (d *tinyDecoder) tensors(t testing.TB, path string, want func(name string) bool) {
	t.Helper()
	var entries []safetensors.Entry
	for name, values := range d.weights {
		if want(name) {
			entries = append(entries, safetensors.Floats(name, d.shapes[name], func() ([]float32, error) { return values, nil }))
		}
	}
	var out bytes.Buffer
	must(t, safetensors.Write(&out, nil, entries))
	must(t, os.WriteFile(path, out.Bytes(), 0o644))
}

// sharded writes a Hugging Face folder of two shards.
func (d *tinyDecoder) sharded(t testing.TB) string {
	t.Helper()
	dir := d.folder(t)
	must(t, os.Remove(filepath.Join(dir, weightsFile)))
	shard := func(name string) string {
		if strings.Contains(name, ".layers.1.") {
			return "model-00002-of-00002.safetensors"
		}
		return "model-00001-of-00002.safetensors"
	}
	index := map[string]string{}
	for name := range d.weights {
		index[name] = shard(name)
	}
	for _, file := range index {
		d.tensors(t, filepath.Join(dir, file), func(name string) bool { return shard(name) == file })
	}
	must(t, writeJSON(filepath.Join(dir, safetensors.IndexFile), map[string]any{"weight_map": index}))
	return dir
}

// pairs are the metadata of a GGUF file; more are laid over them, and nil removes.
func (d *tinyDecoder) pairs(more map[string]any) []gguftest.Pair {
	arch := d.config["model_type"].(string)
	number := func(key string) uint32 { return uint32(d.config[key].(float64)) }
	all := gguftest.Pairs(
		"general.architecture", arch,
		arch+".embedding_length", number("hidden_size"), arch+".feed_forward_length", number("intermediate_size"),
		arch+".block_count", number("num_hidden_layers"), arch+".attention.head_count", number("num_attention_heads"),
		arch+".attention.head_count_kv", number("num_key_value_heads"), arch+".attention.key_length", number("head_dim"),
		arch+".context_length", number("max_position_embeddings"), arch+".rope.freq_base", float32(d.config["rope_theta"].(float64)),
		arch+".attention.layer_norm_rms_epsilon", float32(d.config["rms_norm_eps"].(float64)),
		"tokenizer.ggml.model", "gpt2", "tokenizer.ggml.pre", "gpt-2", "tokenizer.ggml.tokens", d.tokens.tokens,
		"tokenizer.ggml.token_type", d.tokens.kinds, "tokenizer.ggml.merges", d.tokens.merges, "tokenizer.ggml.eos_token_id", uint32(0),
		"tokenizer.ggml.padding_token_id", uint32(0),
	)
	var set struct {
		Template string `json:"chat_template"`
	}
	_ = json.Unmarshal([]byte(d.set), &set) // without one there is no template
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

// gguf writes a GGUF file, the rows of Llama's queries and keys in llama.cpp's
// order: within a head, first the pairs, then the halves (LlamaModel.permute of
// convert_hf_to_gguf.py).
func (d *tinyDecoder) gguf(t testing.TB, more map[string]any, change func([]gguftest.Tensor) []gguftest.Tensor) string {
	t.Helper()
	var tensors []gguftest.Tensor
	for name, values := range d.weights {
		shape := d.shapes[name]
		if d.config["model_type"] == "llama" && (strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj")) {
			values = pairsFirst(values, shape[0], int(d.config["head_dim"].(float64)))
		}
		tensors = append(tensors, gguftest.Floats(ggufName(name), shape, values))
	}
	slices.SortFunc(tensors, func(a, b gguftest.Tensor) int { return strings.Compare(a.Name, b.Name) })
	if change != nil {
		tensors = change(tensors)
	}
	path := filepath.Join(t.TempDir(), "decoder.gguf")
	must(t, os.WriteFile(path, gguftest.File(3, d.pairs(more), tensors), 0o644))
	return path
}

// pairsFirst turns rows (head, half, pair) into (head, pair, half).
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
