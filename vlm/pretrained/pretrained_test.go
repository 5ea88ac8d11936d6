package pretrained_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/gguftest"
	"patchwork/internal/require"
	"patchwork/nn/gguf"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// TestPretrainedForms: a folder, a sharded folder and a GGUF file of the same decoder give the
// same parameters, token ids and settings.
func TestPretrainedForms(t *testing.T) {
	for _, family := range vlmtest.TinyFamilies {
		t.Run(family, func(t *testing.T) {
			d := vlmtest.NewTinyDecoder(t, family, 280)
			var prompts [][]int32
			for form, path := range map[string]string{"folder": d.Folder(t), "shards": d.Sharded(t), "GGUF": d.GGUF(t, nil, nil)} {
				dev := cpu.Open(0)
				l, err := pretrained.Load(path, dev)
				require.NoError(t, err)
				if c := l.Config.Text; !l.Config.Vision.None() || c.VocabSize != 300 || c.TieWordEmbeddings != (family != "tiny_qwen3_untied") || c.RMSNormEps != d.Config["rms_norm_eps"] {
					t.Errorf("%s: configuration %+v", form, l.Config)
				}
				if len(l.Params.All()) != len(d.Weights) {
					t.Errorf("%s: %d parameters, want %d", form, len(l.Params.All()), len(d.Weights))
				}
				for _, p := range l.Params.All() {
					got, err := l.Params.Read(dev, l.Params.Weights, p)
					require.NoError(t, err)
					if !slices.Equal(got, d.Weights[strings.TrimPrefix(p.Name, vlm.DecoderPrefix)]) {
						t.Errorf("%s: %s differs", form, p.Name)
					}
				}
				prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "is the <|end|> red? <|image|>"}}}, nil)
				require.NoError(t, err)
				prompts = append(prompts, prompt.IDs)
				if n := occurrences(prompt.IDs, l.Processor.EOSIDs()[0]); n != 0 {
					t.Errorf("%s: the text of a question was encoded as %d end tokens", form, n)
				}
				out, err := generate.New(l).Generate(context.Background(), prompt, nil, generate.Options{MaxNewTokens: 4})
				if err != nil || len(out.IDs) == 0 && out.Finish != "stop" {
					t.Errorf("%s: generated %+v: %v", form, out, err)
				}
			}
			if !slices.Equal(prompts[0], prompts[1]) || !slices.Equal(prompts[0], prompts[2]) {
				t.Errorf("the prompts differ: %v", prompts)
			}
		})
	}
}

func occurrences(ids []int32, id int32) (n int) {
	for _, x := range ids {
		if x == id {
			n++
		}
	}
	return n
}

// TestImageRow: <|image|> gets a padding row of the embedding or a new one, with small random
// values; no other row changes.
func TestImageRow(t *testing.T) {
	for _, family := range vlmtest.TinyFamilies {
		for _, tokens := range []int{280, 300} {
			d := vlmtest.NewTinyDecoder(t, family, tokens)
			p, err := pretrained.Open(d.GGUF(t, nil, nil))
			require.NoError(t, err)
			defer p.Close()
			l, err := p.Processor(4)
			require.NoError(t, err)
			text := p.WithTokens(l.Tokenizer)
			if int(l.ImageID()) != tokens || text.VocabSize != max(300, tokens+1) {
				t.Fatalf("%s: <|image|> is %d of %d", family, l.ImageID(), text.VocabSize)
			}
			c := vlmtest.Config(t, packing.Document).WithText(text)
			c.ImageTokenID = tokens
			m, err := vlm.NewModel(c.Config, c.Init)
			require.NoError(t, err)
			require.NoError(t, p.Check(m))
			load := func(seed uint64) (embed, head []float32) {
				dev := cpu.Open(0)
				require.NoError(t, m.Allocate(dev, false))
				require.NoError(t, p.Load(dev, m, l, seed))
				read := func(name string) []float32 {
					return require.Value(m.Params.Read(dev, m.Params.Weights, m.Params.ByName(vlm.DecoderPrefix+name)))(t)
				}
				if len(m.VocabularyParams()) > 1 {
					head = read(pretrained.HeadName)
				}
				return read(pretrained.EmbeddingName), head
			}
			embed, head := load(1)
			again, _ := load(1)
			other, _ := load(2)
			if !slices.Equal(embed, again) || slices.Equal(embed, other) {
				t.Errorf("%s: the row does not depend on the seed", family)
			}
			checkImageRow(t, family+" embedding", embed, d.Weights[pretrained.EmbeddingName], tokens, text.HiddenSize, c.Init.Embedding)
			if head != nil {
				checkImageRow(t, family+" head", head, d.Weights[pretrained.HeadName], tokens, text.HiddenSize, 1/math.Sqrt(float64(text.HiddenSize)))
			}
		}
	}
}

func checkImageRow(t *testing.T, what string, got, want []float32, row, cols int, std float64) {
	t.Helper()
	before, after := row*cols, (row+1)*cols
	if !slices.Equal(got[:before], want[:before]) || after < len(want) && !slices.Equal(got[after:], want[after:]) {
		t.Errorf("%s: another row has changed", what)
	}
	var sum float64
	for _, x := range got[before:after] {
		sum += float64(x) * float64(x)
	}
	if rms := math.Sqrt(sum / float64(cols)); rms < std/2 || rms > 2*std {
		t.Errorf("%s: the RMS of the new row is %.3g, want about %.3g", what, rms, std)
	}
}

// trainFrom trains two steps from a decoder.
func trainFrom(t *testing.T, decoder, out string) error {
	t.Helper()
	r, err := train.Preset("shapes")
	require.NoError(t, err)
	r.Steps, r.SeqLen, r.PoolSize, r.Warmup, r.ValEvery, r.SaveEvery = 2, 256, 16, 1, 0, 0
	_, err = train.Run(context.Background(), train.Options{Recipe: r, Data: data.Local(vlmtest.Data(t, 20)), Out: out, Decoder: decoder, Device: cpu.Open(0)})
	return err
}

// TestExport exports a trained model's decoder and reads it again: equal parameters in F32,
// rounded ones in 16 bits.
func TestExport(t *testing.T) {
	d := vlmtest.NewTinyDecoder(t, "tiny_qwen3_untied", 300)
	trained := filepath.Join(t.TempDir(), "trained")
	require.NoError(t, trainFrom(t, d.GGUF(t, nil, nil), trained))
	reference, err := pretrained.Load(trained, cpu.Open(0))
	require.NoError(t, err)
	for _, c := range []struct {
		name      string
		o         pretrained.ExportOptions
		tolerance float64 // relative
	}{
		{"decoder", pretrained.ExportOptions{DecoderOnly: true, DType: "f32"}, 0},
		{"decoder in f16", pretrained.ExportOptions{DecoderOnly: true, DType: "f16"}, 1.0 / 2048},
		{"decoder in bf16", pretrained.ExportOptions{DecoderOnly: true, DType: "bf16"}, 1.0 / 256},
		{"model in bf16", pretrained.ExportOptions{DType: "bf16"}, 1.0 / 256},
		{"one file", pretrained.ExportOptions{Quantize: "f32"}, 0},
		{"one file in bf16", pretrained.ExportOptions{Quantize: "bf16"}, 1.0 / 256},
		{"decoder in a file in f16", pretrained.ExportOptions{DecoderOnly: true, Quantize: "f16"}, 1.0 / 2048},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Model, c.o.Out = trained, filepath.Join(t.TempDir(), "out.gguf")
			_, err := pretrained.Export(t.Context(), c.o)
			require.NoError(t, err)
			l, err := pretrained.Load(c.o.Out, cpu.Open(0))
			require.NoError(t, err)
			if l.Config.Vision.None() != c.o.DecoderOnly || l.Config.Text.VocabSize != 301 {
				t.Fatalf("configuration %+v", l.Config)
			}
			for _, p := range l.Params.All() {
				got := require.Value(l.Params.Read(l.Device, l.Params.Weights, p))(t)
				want := require.Value(reference.Params.Read(reference.Device, reference.Params.Weights, reference.Params.ByName(p.Name)))(t)
				for i := range want {
					if diff := math.Abs(float64(got[i] - want[i])); diff > c.tolerance*math.Max(math.Abs(float64(want[i])), 1e-4) {
						t.Fatalf("%s[%d] is %v, want %v", p.Name, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// TestBadDecoders: invalid decoders are rejected with an error of one line.
func TestBadDecoders(t *testing.T) {
	d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
	meta := func(key string, value any) func(*testing.T) string {
		return func(t *testing.T) string { return d.GGUF(t, map[string]any{key: value}, nil) }
	}
	tensors := func(change func([]gguftest.Tensor) []gguftest.Tensor) func(*testing.T) string {
		return func(t *testing.T) string { return d.GGUF(t, nil, change) }
	}
	drop := func(name string) func([]gguftest.Tensor) []gguftest.Tensor {
		return func(all []gguftest.Tensor) []gguftest.Tensor {
			return slices.DeleteFunc(all, func(x gguftest.Tensor) bool { return x.Name == name })
		}
	}
	config := func(key string, value any) func(*testing.T) string {
		return func(t *testing.T) string {
			changed := *vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
			changed.Config[key] = value
			return changed.Folder(t)
		}
	}
	file := func(name, text string) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := d.Folder(t)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			return dir
		}
	}
	for _, c := range []struct {
		name, want string
		path       func(t *testing.T) string
	}{
		{"architecture", `general.architecture is "mamba"`, meta("general.architecture", "mamba")},
		{"no size", `"llama.embedding_length" is missing`, meta("llama.embedding_length", nil)},
		{"text as size", `"llama.block_count" is missing or not a number`, meta("llama.block_count", "two")},
		{"heads per layer", `"llama.attention.head_count_kv" is missing or not a number`, meta("llama.attention.head_count_kv", []int32{2, 2})},
		{"heads", "not a multiple", meta("llama.attention.head_count_kv", uint32(3))},
		{"layers", "is missing", meta("llama.block_count", uint32(3))},
		{"fewer layers", "is not a parameter of a llama decoder", meta("llama.block_count", uint32(1))},
		{"scaling", `rope.scaling.type "longrope"`, meta("llama.rope.scaling.type", "longrope")},
		{"window", `"llama.attention.sliding_window" is 16, which`, meta("llama.attention.sliding_window", uint32(16))},
		{"soft cap", "llama.attn_logit_softcapping", meta("llama.attn_logit_softcapping", float32(50))},
		{"logit scale", `"llama.logit_scale" is 0.1, which`, meta("llama.logit_scale", float32(0.1))},
		{"a double", `"llama.logit_scale" is 0.1, which`, meta("llama.logit_scale", float64(float32(0.1)))},
		{"a list", `"llama.rope.x" is [1 2], which`, meta("llama.rope.x", []int32{1, 2})},
		{"part of a split file", "its name does not end in", meta("split.count", uint16(3))},
		{"part of the head", "llama.rope.dimension_count is 8", meta("llama.rope.dimension_count", uint32(8))},
		{"experts", "llama.expert_count is 4", meta("llama.expert_count", uint32(4))},
		{"SentencePiece without scores", "tokenizer.ggml.scores is missing", meta("tokenizer.ggml.model", "llama")},
		{"Unigram", `tokenizer.ggml.model is "t5"`, meta("tokenizer.ggml.model", "t5")},
		{"pre-tokenizer", `the pre-tokenizer "falcon"`, meta("tokenizer.ggml.pre", "falcon")},
		{"no pre-tokenizer", "tokenizer.ggml.pre is missing", meta("tokenizer.ggml.pre", nil)},
		{"no tokens", "tokenizer.ggml.tokens", meta("tokenizer.ggml.tokens", nil)},
		{"types", "280 tokens with 2 types", meta("tokenizer.ggml.token_type", []int32{1, 1})},
		{"one token twice", "has the ids", meta("tokenizer.ggml.tokens", slices.Repeat([]string{"a"}, 280))},
		{"merge", "is not a pair", meta("tokenizer.ggml.merges", []string{"ab"})},
		{"merge of none", "is not in the vocabulary", meta("tokenizer.ggml.merges", []string{"zz zz"})},
		{"end of turn", "tokenizer.ggml.eos_token_id is 999", meta("tokenizer.ggml.eos_token_id", uint32(999))},
		{"template", "chat template", meta("tokenizer.chat_template", "{% for %}")},
		{"missing tensor", `"model.layers.1.mlp.up_proj.weight" is missing`, tensors(drop("blk.1.ffn_up.weight"))},
		{"no embedding", `"token_embd.weight" is missing`, tensors(drop("token_embd.weight"))},
		{"strange tensor", `"blk.7.x" is not a parameter of`, tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(all, gguftest.Floats("blk.7.x", []int{1}, []float32{1}))
		})},
		{"frequencies", "8 factors, want one above 0", tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(all, gguftest.Floats("rope_freqs.weight", []int{8}, make([]float32, 8)))
		})},
		{"shape", `"model.norm.weight" has shape [32]`, tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(drop("output_norm.weight")(all), gguftest.Floats("output_norm.weight", []int{32}, make([]float32, 32)))
		})},
		{"quantisation", "is quantised as Q2_K", tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(drop("output_norm.weight")(all), gguftest.Tensor{Name: "output_norm.weight", Type: gguf.Type(10), Shape: []int{256}, Data: make([]byte, 84)})
		})},
		{"vocabulary", "but the embedding has", func(t *testing.T) string {
			return vlmtest.NewTinyDecoder(t, "tiny_llama", 280).WithRows(t, 270).GGUF(t, nil, nil)
		}},
		{"model type", `model_type "gpt2" is not supported`, config("model_type", "gpt2")},
		{"RoPE scaling", `rope_type "su" is not supported`, config("rope_scaling", map[string]any{"type": "su", "factor": 2})},
		{"RoPE parameters", "low_freq_factor", config("rope_parameters", map[string]any{"rope_type": "llama3", "rope_theta": 1e5, "factor": 8})},
		{"quantised", "quantization_config is not supported", config("quantization_config", map[string]any{"bits": 4})},
		{"activation", `hidden_act "gelu"`, config("hidden_act", "gelu")},
		{"negative size", "not above 0", config("hidden_size", -64)},
		{"other size", "by the configuration", config("intermediate_size", 96)},
		{"no JSON", "config.json", file("config.json", "{")},
		{"broken tokenizer", "tokenizer.json", file("tokenizer.json", "[]")},
		{"a list on two lines", `"rope_x" is [1,2], which`, config("rope_x", []int{1, 2})},
		{"ends beyond the vocabulary", "eos_token_id is 99999", file("generation_config.json", `{"eos_token_id":[0,99999]}`)},
		{"a negative end", "eos_token_id is -1", file("generation_config.json", `{"eos_token_id":-1}`)},
		{"broken ends", "eos_token_id", file("generation_config.json", `{"eos_token_id":"x"}`)},
		{"pickled weights", "pytorch_model.bin", func(t *testing.T) string {
			dir := file("pytorch_model.bin", "x")(t)
			require.NoError(t, os.Remove(filepath.Join(dir, pretrained.WeightsFile)))
			return dir
		}},
		{"weights of another name", "rename", func(t *testing.T) string {
			dir := file("x.safetensors", "x")(t)
			require.NoError(t, os.Remove(filepath.Join(dir, pretrained.WeightsFile)))
			return dir
		}},
		{"scales of quantised weights", "the weights are quantised", func(t *testing.T) string {
			d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
			d.Shapes["model.layers.0.mlp.up_proj.weight_scale"], d.Weights["model.layers.0.mlp.up_proj.weight_scale"] = []int{1}, []float32{1}
			return d.Folder(t)
		}},
		{"broken weights", "not a valid safetensors file", file(pretrained.WeightsFile, "x")},
		{"empty folder", "is not a model folder", func(t *testing.T) string { return t.TempDir() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pretrained.LoadDecoder(c.path(t), cpu.Open(0), pretrained.LoadOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant %q in one line of it", err, c.want)
			}
		})
	}
}

// TestNoTemplate: a model without a chat template generates from raw prompts but cannot be
// trained.
func TestNoTemplate(t *testing.T) {
	d := vlmtest.NewTinyDecoder(t, "tiny_llama", 280)
	d.TokenizerConfig = `{"eos_token":"<|end|>"}`
	for _, path := range []string{d.Folder(t), d.GGUF(t, nil, nil)} {
		l, err := pretrained.Load(path, cpu.Open(0))
		require.NoError(t, err)
		if _, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "x"}}}, nil); !errors.Is(err, chat.ErrNoTemplate) {
			t.Errorf("got %v", err)
		}
		if raw, err := l.Processor.Raw("the shape<|end|>", nil, nil, vlm.BOSAuto); err != nil || raw.IDs[len(raw.IDs)-1] != l.Processor.EOSIDs()[0] {
			t.Errorf("the raw prompt is %v", raw.IDs)
		}
		err = trainFrom(t, path, filepath.Join(t.TempDir(), "run"))
		if err == nil || !strings.Contains(err.Error(), "has no chat template") {
			t.Errorf("training: %v", err)
		}
	}
}

// FuzzGGUF opens arbitrary bytes as a decoder and reads everything but the weights.
func FuzzGGUF(f *testing.F) {
	for _, family := range vlmtest.TinyFamilies {
		d := vlmtest.NewTinyDecoder(f, family, 259)
		d.Tokens = vlmtest.TinyTokens{Tokens: []string{"<|end|>", "a", "b", "ab"}, Kinds: []int32{3, 1, 1, 1}, Merges: []string{"a b"}}
		for name := range d.Weights { // only headers are read
			d.Weights[name] = d.Weights[name][:d.Shapes[name][len(d.Shapes[name])-1]]
			if len(d.Shapes[name]) == 2 {
				d.Shapes[name] = []int{1, d.Shapes[name][1]}
			}
		}
		data, err := os.ReadFile(d.GGUF(f, nil, nil))
		require.NoError(f, err)
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "x.gguf")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o644))
		p, err := pretrained.Open(path)
		if err != nil {
			return
		}
		defer p.Close()
		if tok, err := pretrained.GGUFTokenizer(p); err == nil { // templates have their own fuzz target
			tok.Decode(vlmtest.PlainIDs(tok, "abba <|end|>"), false)
		}
		if m, err := vlm.NewModel(p.Config(), vlm.Init{}); err == nil {
			_ = p.Check(m) // any error is fine
		}
	})
}
