package pretrained_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/gguftest"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/eval"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// scoreOf returns the negative log-likelihoods of a text under a pretrained decoder.
func scoreOf(t *testing.T, path string) []float32 {
	t.Helper()
	l, err := pretrained.Load(path, cpu.Open(0))
	require.NoError(t, err)
	nll, _, err := eval.Score(t.Context(), l, vlmtest.PlainIDs(l.Processor.Tokenizer, "what color is the shape? the circle is blue."))
	require.NoError(t, err)
	return nll
}

// TestFolderVariants reads weights as other tools save them.
func TestFolderVariants(t *testing.T) {
	tiny := func() *vlmtest.TinyDecoder { return vlmtest.NewTinyDecoder(t, "tiny_llama", 280) }
	want := scoreOf(t, tiny().Folder(t))
	for _, c := range []struct {
		name   string
		change func(d *vlmtest.TinyDecoder)
	}{
		{"tied, stored twice", func(d *vlmtest.TinyDecoder) { d.Rename(pretrained.EmbeddingName, pretrained.HeadName, true) }},
		{"tied, stored as lm_head only", func(d *vlmtest.TinyDecoder) { d.Rename(pretrained.EmbeddingName, pretrained.HeadName, false) }},
		{"without model.", func(d *vlmtest.TinyDecoder) {
			for _, name := range slices.Collect(maps.Keys(d.Weights)) {
				d.Rename(name, strings.TrimPrefix(name, "model."), false)
			}
		}},
		{"with inv_freq", func(d *vlmtest.TinyDecoder) {
			d.Shapes["model.layers.0.self_attn.rotary_emb.inv_freq"], d.Weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = []int{1}, []float32{1}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := tiny()
			c.change(d)
			if got := scoreOf(t, d.Folder(t)); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got[:4], want[:4])
			}
		})
	}

	// A head that differs from the embedding is kept although the configuration ties them.
	d, untied := tiny(), tiny()
	for _, one := range []*vlmtest.TinyDecoder{d, untied} {
		one.Rename(pretrained.EmbeddingName, pretrained.HeadName, true)
		one.Weights[pretrained.HeadName] = slices.Clone(one.Weights[pretrained.HeadName])
		slices.Reverse(one.Weights[pretrained.HeadName])
	}
	untied.Config["tie_word_embeddings"] = false
	dir := d.Folder(t)
	got := scoreOf(t, dir)
	if !slices.Equal(got, scoreOf(t, untied.Folder(t))) || slices.Equal(got, want) {
		t.Error("the separate head is not used if the configuration ties it")
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: dir, Out: out, DType: "f32"})
	require.NoError(t, err)
	if !slices.Equal(scoreOf(t, out), got) {
		t.Error("the exported head differs")
	}
}

// TestGGUFRope compares scaled RoPE of a GGUF file with the same settings in config.json.
func TestGGUFRope(t *testing.T) {
	plain := scoreOf(t, vlmtest.NewTinyDecoder(t, "tiny_llama", 280).Folder(t))
	llama3 := map[string]any{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}
	for _, c := range []struct {
		name    string
		config  map[string]any
		meta    map[string]any
		factors func(d *vlmtest.TinyDecoder) []float32
	}{
		{"linear", map[string]any{"rope_type": "linear", "factor": 4}, map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(4)}, nil},
		{"linear by default", map[string]any{"rope_type": "linear", "factor": 4}, map[string]any{"llama.rope.scaling.factor": float32(4)}, nil},
		{"linear, former key", map[string]any{"rope_type": "linear", "factor": 4}, map[string]any{"llama.rope.scale_linear": float32(4)}, nil},
		{"none with a factor", nil, map[string]any{"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": float32(4)}, nil},
		{"a factor of 1", nil, map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(1)}, nil},
		{"YaRN", map[string]any{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64},
			map[string]any{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4), "llama.rope.scaling.original_context_length": uint32(64)}, nil},
		{"factors of Llama 3", llama3, nil, func(d *vlmtest.TinyDecoder) []float32 {
			s := vlm.RoPEScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalContext: 8192}
			var out []float32
			half := int(d.Config["head_dim"].(float64)) / 2
			for i := range half {
				out = append(out, float32(s.Llama3Factor(math.Pow(d.Config["rope_theta"].(float64), -float64(i)/float64(half)))))
			}
			return out
		}},
		{"factors of 1", nil, nil, func(d *vlmtest.TinyDecoder) []float32 {
			return slices.Repeat([]float32{1}, int(d.Config["head_dim"].(float64))/2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
			if c.config != nil {
				d.Config["rope_scaling"] = c.config
			}
			want := scoreOf(t, d.Folder(t))
			if (c.config == nil) != slices.Equal(want, plain) {
				t.Fatal("rope_scaling has no effect, or an unexpected one")
			}
			change := func(all []gguftest.Tensor) []gguftest.Tensor { return all }
			if c.factors != nil {
				change = func(all []gguftest.Tensor) []gguftest.Tensor {
					f := c.factors(d)
					return append(all, gguftest.Floats("rope_freqs.weight", []int{len(f)}, f))
				}
			}
			path := d.GGUF(t, c.meta, change)
			if got := scoreOf(t, path); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got[:4], want[:4])
			}
			out := filepath.Join(t.TempDir(), "out")
			_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: path, Out: out, DType: "f32"})
			require.NoError(t, err)
			if got := scoreOf(t, out); !slices.Equal(got, want) {
				t.Errorf("exported: %v, want %v", got[:4], want[:4])
			}
		})
	}
}

// TestFolderEOS: the end tokens given by a folder's files, and those written by an export.
func TestFolderEOS(t *testing.T) {
	const template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
	set := func(more string) string {
		text, _ := json.Marshal(template)
		return `{"chat_template":` + string(text) + more + `}`
	}
	for _, c := range []struct {
		name             string
		set, map_        string
		eos              any // of config.json
		generation       string
		template, ends   []int32 // from the template, and all
		withoutTemplates bool
	}{
		{"only the template", set(""), "", nil, "", []int32{0}, []int32{0}, false},
		{"eos_token", set(`,"eos_token":"<|user|>"`), "", nil, "", []int32{0}, []int32{0, 1}, false},
		{"special_tokens_map.json only", set(""), `{"eos_token":{"content":"<|user|>"}}`, nil, "", []int32{0}, []int32{0, 1}, false},
		{"tokenizer_config.json has precedence", set(`,"eos_token":"<|assistant|>"`), `{"eos_token":"<|user|>"}`, nil, "", []int32{0}, []int32{0, 2}, false},
		{"config.json, a list", set(""), "", []int{2, 1}, "", []int32{0}, []int32{0, 2, 1}, false},
		{"generation_config.json has precedence over config.json", set(""), "", 2, `{"eos_token_id":1}`, []int32{0}, []int32{0, 1}, false},
		{"no template, no eos", `{}`, "", nil, "", nil, nil, false},
		{"no template", `{}`, "", 1, "", nil, []int32{1}, false},
		{"no tokenizer_config.json", "", "", 1, "", nil, []int32{1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
			d.TokenizerConfig = c.set
			if c.eos != nil {
				d.Config["eos_token_id"] = c.eos
			}
			dir := d.Folder(t)
			write := func(name, text string) {
				if text != "" {
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
				}
			}
			write("special_tokens_map.json", c.map_)
			write("generation_config.json", c.generation)
			if c.set == "" {
				require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer_config.json")))
			}
			l, err := pretrained.OpenProcessor(dir)
			require.NoError(t, err)
			if got := l.AnswerEnds(); !slices.Equal(got, c.template) || !slices.Equal(l.EOSIDs(), c.ends) {
				t.Errorf("the template ends with %v, generation at %v, want %v and %v", got, l.EOSIDs(), c.template, c.ends)
			}
			out := filepath.Join(t.TempDir(), "out")
			_, err = pretrained.Export(t.Context(), pretrained.ExportOptions{Model: dir, Out: out, DType: "f32"})
			require.NoError(t, err)
			exported, err := pretrained.ReadEOS(out, math.MaxInt32)
			require.NoError(t, err)
			if !slices.Equal(exported, c.ends) {
				t.Errorf("the export ends at %v, want %v", exported, c.ends)
			}
		})
	}
}

// TestGGUFEOS: tokens end an answer by metadata or by names that llama.cpp knows; a file may have
// none.
func TestGGUFEOS(t *testing.T) {
	for _, c := range []struct {
		name     string
		specials [3]string // ids 0 to 2
		meta     map[string]any
		want     []int32
	}{
		{"by name", [3]string{"<|im_end|>", "<|eot_id|>", "<|x|>"}, map[string]any{"tokenizer.ggml.eos_token_id": nil}, []int32{1, 0}},
		{"eos first", [3]string{"<|im_end|>", "<|x|>", "<eos>"}, map[string]any{"tokenizer.ggml.eos_token_id": uint32(2)}, []int32{2, 0}},
		{"eot and eom", [3]string{"a1", "b1", "c1"}, map[string]any{"tokenizer.ggml.eos_token_id": nil, "tokenizer.ggml.eot_token_id": uint32(1), "tokenizer.ggml.eom_token_id": uint32(2)}, []int32{1, 2}},
		{"none", [3]string{"a1", "b1", "c1"}, map[string]any{"tokenizer.ggml.eos_token_id": nil}, nil},
		{"end of message in harmony", [3]string{"<|end|>", "<|return|>", "<|call|>"}, map[string]any{"tokenizer.ggml.eos_token_id": uint32(1)}, []int32{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
			d.TokenizerConfig = "{}"
			copy(d.Tokens.Tokens, c.specials[:])
			l, err := pretrained.OpenProcessor(d.GGUF(t, c.meta, nil))
			require.NoError(t, err)
			if got := l.EOSIDs(); !slices.Equal(got, c.want) {
				t.Errorf("generation ends at %v, want %v", got, c.want)
			}
		})
	}
}

// TestEOSWrongType: an end token that a file marks as normal is treated as a control token.
func TestEOSWrongType(t *testing.T) {
	for _, kinds := range []any{nil, slices.Repeat([]int32{1}, 280)} {
		d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
		d.TokenizerConfig = `{"chat_template":"{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"}`
		d.Tokens.Tokens[0] = "<|im_end|>"
		l, err := pretrained.OpenProcessor(d.GGUF(t, map[string]any{"tokenizer.ggml.token_type": kinds, "tokenizer.ggml.eos_token_id": nil}, nil))
		require.NoError(t, err)
		got, err := l.Conversation(chat.Conversation{Turns: []chat.Turn{{User: "a<|im_end|>", Assistant: "b"}}})
		require.NoError(t, err)
		if n := occurrences(got.IDs, 0); n != 2 || !slices.Equal(l.AnswerEnds(), []int32{0}) || !got.LossMask[len(got.LossMask)-1] {
			t.Errorf("%d ends in %v, answers %v, ends %v", n, got.IDs, got.LossMask, l.AnswerEnds())
		}
	}
}

// TestBeginToken: the tokens before a text without a chat template.
func TestBeginToken(t *testing.T) {
	around := `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|user|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<|user|>":{"id":"<|user|>","ids":[1],"tokens":["<|user|>"]}}}`
	with := func(set, processor string) string {
		d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
		d.TokenizerConfig = set
		if processor != "" {
			d.Tokens.File = []byte(strings.Replace(string(d.Tokens.File), `"post_processor":null`, `"post_processor":`+processor, 1))
		}
		return d.Folder(t)
	}
	gguf := func(more map[string]any) string {
		d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
		return d.GGUF(t, more, nil)
	}
	for _, c := range []struct {
		name, path, bos string
		want            []int32
	}{
		{"post-processor", with(`{}`, around), vlm.BOSAuto, []int32{1}},
		{"post-processor, BOSNo", with(`{}`, around), vlm.BOSNo, nil},
		{"only add_bos_token, which transformers ignores", with(`{"bos_token":"<|user|>","add_bos_token":true}`, ""), vlm.BOSAuto, nil},
		{"BOSYes", with(`{"bos_token":"<|user|>"}`, ""), vlm.BOSYes, []int32{1}},
		{"GGUF", gguf(map[string]any{"tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.bos_token_id": uint32(2)}), vlm.BOSAuto, []int32{2}},
		{"GGUF, not added", gguf(map[string]any{"tokenizer.ggml.add_bos_token": false, "tokenizer.ggml.bos_token_id": uint32(2)}), vlm.BOSAuto, nil},
		{"GGUF, Llama 3", gguf(map[string]any{"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.bos_token_id": uint32(2)}), vlm.BOSAuto, []int32{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := pretrained.OpenProcessor(c.path)
			require.NoError(t, err)
			plain := vlmtest.PlainIDs(l.Tokenizer, "the shape")
			raw, err := l.Raw("the shape", nil, nil, c.bos)
			require.NoError(t, err)
			if !slices.Equal(raw.IDs, slices.Concat(c.want, plain)) {
				t.Errorf("%v, want %v before %v", raw.IDs, c.want, plain)
			}
			if l.NoChatTemplate {
				return
			}
			prompt, err := l.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "the shape"}}}, nil)
			require.NoError(t, err)
			if len(c.want) > 0 && prompt.IDs[0] == c.want[0] {
				t.Error("the chat template's text got an additional begin token")
			}
		})
	}
	l, err := pretrained.OpenProcessor(with(`{}`, ""))
	require.NoError(t, err)
	if _, err := l.Raw("x", nil, nil, vlm.BOSYes); err == nil {
		t.Error("a begin token was added for a model without one")
	}
}
