package vlm

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/gguftest"
	"patchwork/nn/gguf"
	"patchwork/shaders"
	"patchwork/vlm/chat"
)

// TestPretrainedForms: a folder, a folder of shards and a GGUF file of the same
// decoder give the same parameters, ids and settings.
func TestPretrainedForms(t *testing.T) {
	for _, family := range tinyFamilies {
		t.Run(family, func(t *testing.T) {
			d := newTinyDecoder(t, family, 280)
			var prompts [][]int32
			for form, path := range map[string]string{"folder": d.folder(t), "shards": d.sharded(t), "GGUF": d.gguf(t, nil, nil)} {
				dev := cpu.Open(0)
				l, err := Load(path, dev)
				must(t, err)
				if c := l.Config.Text; !l.Config.Vision.None() || c.VocabSize != 300 || c.TieWordEmbeddings != (family != "tiny_qwen3_untied") || c.RMSNormEps != d.config["rms_norm_eps"] {
					t.Errorf("%s: configuration %+v", form, l.Config)
				}
				if len(l.Params.All()) != len(d.weights) {
					t.Errorf("%s: %d parameters, want %d", form, len(l.Params.All()), len(d.weights))
				}
				for _, p := range l.Params.All() {
					got, err := l.Params.Read(dev, l.Params.Weights, p)
					must(t, err)
					if !slices.Equal(got, d.weights[strings.TrimPrefix(p.Name, decoderPrefix)]) {
						t.Errorf("%s: %s differs", form, p.Name)
					}
				}
				prompt, err := l.Language.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "is the <|end|> red? <|image|>"}}}, nil)
				must(t, err)
				prompts = append(prompts, prompt.IDs)
				if n := occurrences(prompt.IDs, l.Language.ends[0]); n != 0 {
					t.Errorf("%s: a question's text became %d ends of turn", form, n)
				}
				out, err := NewGenerator(l).Generate(context.Background(), prompt, nil, GenerateOptions{MaxNewTokens: 4})
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

// TestImageRow: <|image|> takes a row that pads the embedding, or a new one, small
// and random; no other row changes.
func TestImageRow(t *testing.T) {
	for _, family := range tinyFamilies {
		for _, tokens := range []int{280, 300} {
			d := newTinyDecoder(t, family, tokens)
			p, err := OpenPretrained(d.gguf(t, nil, nil))
			must(t, err)
			defer p.Close()
			l, err := p.Language(4)
			must(t, err)
			text := p.withTokens(l.Tokenizer)
			if int(l.ImageID()) != tokens || text.VocabSize != max(300, tokens+1) {
				t.Fatalf("%s: <|image|> is %d of %d", family, l.ImageID(), text.VocabSize)
			}
			r := testRecipe(t, 1)
			m, err := NewModel(r.config(text, tokens), r.Init)
			must(t, err)
			must(t, p.check(m))
			load := func(seed uint64) (embed, head []float32) {
				dev := cpu.Open(0)
				must(t, m.allocate(dev, false))
				must(t, p.load(dev, m, l, seed))
				read := func(name string) []float32 {
					return must1(m.Params.Read(dev, m.Params.Weights, m.Params.ByName(decoderPrefix+name)))(t)
				}
				if m.decoder.head != m.decoder.embed {
					head = read(headName)
				}
				return read(embedName), head
			}
			embed, head := load(1)
			again, _ := load(1)
			other, _ := load(2)
			if !slices.Equal(embed, again) || slices.Equal(embed, other) {
				t.Errorf("%s: the row is not a matter of the seed", family)
			}
			checkImageRow(t, family+" embedding", embed, d.weights[embedName], tokens, text.HiddenSize, r.Init.Embedding)
			if head != nil {
				checkImageRow(t, family+" head", head, d.weights[headName], tokens, text.HiddenSize, 1/math.Sqrt(float64(text.HiddenSize)))
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
		t.Errorf("%s: the new row's values are about %.3g, want %.3g", what, rms, std)
	}
}

func trainDecoder(t *testing.T, ctx context.Context, dev engine.Device, r Recipe, files []string, decoder, out string, resume bool, until func(StepMetrics)) error {
	t.Helper()
	_, err := Train(ctx, TrainOptions{Recipe: r, Data: files, Out: out, Decoder: decoder, Resume: resume, Device: dev, Observe: Observer{Step: until}})
	return err
}

// TestTrainFromDecoder: a folder and a GGUF file train alike; a run that was
// stopped goes on without the decoder's files, with the same bits; another decoder
// is refused.
func TestTrainFromDecoder(t *testing.T) {
	files, r := []string{testData(t, 40)}, testRecipe(t, 6)
	r.FreezeDecoderSteps = 2
	d := newTinyDecoder(t, "tiny_llama", 300)
	folder, file := d.folder(t), d.gguf(t, nil, nil)
	a, b, stopped := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "c")
	must(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, folder, a, false, nil))
	must(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, file, b, false, nil))
	same(t, "a folder and a GGUF file", losses(t, a), losses(t, b))

	ctx, cancel := context.WithCancel(context.Background())
	err := trainDecoder(t, ctx, cpu.Open(0), r, files, file, stopped, false, func(m StepMetrics) {
		if m.Step == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted run returned %v", err)
	}
	var settings *SettingsError
	other := newTinyDecoder(t, "tiny_qwen3", 300).gguf(t, nil, nil)
	if err := trainDecoder(t, context.Background(), cpu.Open(0), r, files, other, stopped, true, nil); !errors.As(err, &settings) || !slices.Equal(settings.Names, []string{"decoder"}) {
		t.Errorf("another decoder: %v", err)
	}
	must(t, os.Remove(file))
	if SavedDecoder(stopped) != file {
		t.Errorf("run.json names the decoder %q, want %q", SavedDecoder(stopped), file)
	}
	must(t, trainDecoder(t, context.Background(), cpu.Open(0), r, files, file, stopped, true, nil))
	same(t, "a stopped run and a whole one", losses(t, b), losses(t, stopped))
	if answer := testAnswer(t, cpu.Open(0), stopped); answer == "" {
		t.Log("the model answers nothing, after 6 steps")
	}
}

// TestExport writes a trained model's decoder and reads it again: the same
// parameters in F32, rounded ones in 16 bits.
func TestExport(t *testing.T) {
	d := newTinyDecoder(t, "tiny_qwen3_untied", 300)
	trained := filepath.Join(t.TempDir(), "trained")
	must(t, trainDecoder(t, context.Background(), cpu.Open(0), testRecipe(t, 2), []string{testData(t, 20)}, d.gguf(t, nil, nil), trained, false, nil))
	whole, err := Load(trained, cpu.Open(0))
	must(t, err)
	for _, c := range []struct {
		name      string
		o         ExportOptions
		tolerance float64 // of a value of 1
	}{
		{"decoder", ExportOptions{DecoderOnly: true, DType: "f32"}, 0},
		{"decoder in f16", ExportOptions{DecoderOnly: true, DType: "f16"}, 1.0 / 2048},
		{"decoder in bf16", ExportOptions{DecoderOnly: true, DType: "bf16"}, 1.0 / 256},
		{"model in bf16", ExportOptions{DType: "bf16"}, 1.0 / 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Model, c.o.Out = trained, filepath.Join(t.TempDir(), "out")
			_, err := Export(t.Context(), c.o)
			must(t, err)
			l, err := Load(c.o.Out, cpu.Open(0))
			must(t, err)
			if l.Config.Vision.None() != c.o.DecoderOnly || l.Config.Text.VocabSize != 301 {
				t.Fatalf("configuration %+v", l.Config)
			}
			for _, p := range l.Params.All() {
				got := must1(l.Params.Read(l.Device, l.Params.Weights, p))(t)
				want := must1(whole.Params.Read(whole.Device, whole.Params.Weights, whole.Params.ByName(p.Name)))(t)
				for i := range want {
					if diff := math.Abs(float64(got[i] - want[i])); diff > c.tolerance*math.Max(math.Abs(float64(want[i])), 1e-4) {
						t.Fatalf("%s[%d] is %v, want %v", p.Name, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// TestBadDecoders: what does not fit together is said in one line.
func TestBadDecoders(t *testing.T) {
	d := newTinyDecoder(t, "tiny_llama", 280)
	meta := func(key string, value any) func(*testing.T) string {
		return func(t *testing.T) string { return d.gguf(t, map[string]any{key: value}, nil) }
	}
	tensors := func(change func([]gguftest.Tensor) []gguftest.Tensor) func(*testing.T) string {
		return func(t *testing.T) string { return d.gguf(t, nil, change) }
	}
	drop := func(name string) func([]gguftest.Tensor) []gguftest.Tensor {
		return func(all []gguftest.Tensor) []gguftest.Tensor {
			return slices.DeleteFunc(all, func(x gguftest.Tensor) bool { return x.Name == name })
		}
	}
	config := func(key string, value any) func(*testing.T) string {
		return func(t *testing.T) string {
			changed := *newTinyDecoder(t, "tiny_llama", 280)
			changed.config[key] = value
			return changed.folder(t)
		}
	}
	file := func(name, text string) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := d.folder(t)
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			return dir
		}
	}
	for _, c := range []struct {
		name, want string
		path       func(t *testing.T) string
	}{
		{"architecture", `general.architecture is "mamba"`, meta("general.architecture", "mamba")},
		{"no size", `"llama.embedding_length" is missing`, meta("llama.embedding_length", nil)},
		{"text as size", `"llama.block_count" is missing or no number`, meta("llama.block_count", "two")},
		{"heads a layer", `"llama.attention.head_count_kv" is missing or no number`, meta("llama.attention.head_count_kv", []int32{2, 2})},
		{"heads", "no multiple", meta("llama.attention.head_count_kv", uint32(3))},
		{"layers", "is missing", meta("llama.block_count", uint32(3))},
		{"fewer layers", "is none of a llama decoder's", meta("llama.block_count", uint32(1))},
		{"scaling", `rope.scaling.type "longrope"`, meta("llama.rope.scaling.type", "longrope")},
		{"window", `"llama.attention.sliding_window" is 16, which`, meta("llama.attention.sliding_window", uint32(16))},
		{"soft cap", "llama.attn_logit_softcapping", meta("llama.attn_logit_softcapping", float32(50))},
		{"logit scale", `"llama.logit_scale" is 0.1, which`, meta("llama.logit_scale", float32(0.1))},
		{"a double", `"llama.logit_scale" is 0.1, which`, meta("llama.logit_scale", float64(float32(0.1)))},
		{"a list", `"llama.rope.x" is [1 2], which`, meta("llama.rope.x", []int32{1, 2})},
		{"part of a split file", "is one of 3 parts", meta("split.count", uint16(3))},
		{"part of the head", "llama.rope.dimension_count is 8", meta("llama.rope.dimension_count", uint32(8))},
		{"experts", "llama.expert_count is 4", meta("llama.expert_count", uint32(4))},
		{"SentencePiece", `tokenizer.ggml.model is "llama"`, meta("tokenizer.ggml.model", "llama")},
		{"pre-tokenizer", `the pre-tokenizer "falcon"`, meta("tokenizer.ggml.pre", "falcon")},
		{"no pre-tokenizer", "tokenizer.ggml.pre is missing", meta("tokenizer.ggml.pre", nil)},
		{"no tokens", "tokenizer.ggml.tokens", meta("tokenizer.ggml.tokens", nil)},
		{"types", "280 tokens with 2 types", meta("tokenizer.ggml.token_type", []int32{1, 1})},
		{"one token twice", "has the ids", meta("tokenizer.ggml.tokens", slices.Repeat([]string{"a"}, 280))},
		{"merge", "is no pair", meta("tokenizer.ggml.merges", []string{"ab"})},
		{"merge of none", "is not in the vocabulary", meta("tokenizer.ggml.merges", []string{"zz zz"})},
		{"end of turn", "tokenizer.ggml.eos_token_id is 999", meta("tokenizer.ggml.eos_token_id", uint32(999))},
		{"template", "chat template", meta("tokenizer.chat_template", "{% for %}")},
		{"missing tensor", `"model.layers.1.mlp.up_proj.weight" is missing`, tensors(drop("blk.1.ffn_up.weight"))},
		{"no embedding", `"token_embd.weight" is missing`, tensors(drop("token_embd.weight"))},
		{"strange tensor", `"blk.7.x" is none of`, tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(all, gguftest.Floats("blk.7.x", []int{1}, []float32{1}))
		})},
		{"frequencies", "factors are 8, want one above 0", tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(all, gguftest.Floats("rope_freqs.weight", []int{8}, make([]float32, 8)))
		})},
		{"shape", `"model.norm.weight" has shape [32]`, tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(drop("output_norm.weight")(all), gguftest.Floats("output_norm.weight", []int{32}, make([]float32, 32)))
		})},
		{"quantisation", "is quantised as Q2_K", tensors(func(all []gguftest.Tensor) []gguftest.Tensor {
			return append(drop("output_norm.weight")(all), gguftest.Tensor{Name: "output_norm.weight", Type: gguf.Type(10), Shape: []int{256}, Data: make([]byte, 84)})
		})},
		{"vocabulary", "do not belong together", func(t *testing.T) string {
			return newTinyDecoder(t, "tiny_llama", 280).withRows(t, 270).gguf(t, nil, nil)
		}},
		{"model type", `model_type "gpt2" is not supported`, config("model_type", "gpt2")},
		{"RoPE scaling", `rope_type "su" is not supported`, config("rope_scaling", map[string]any{"type": "su", "factor": 2})},
		{"RoPE parameters", "low_freq_factor", config("rope_parameters", map[string]any{"rope_type": "llama3", "rope_theta": 1e5, "factor": 8})},
		{"quantised", "quantization_config is not supported", config("quantization_config", map[string]any{"bits": 4})},
		{"activation", `hidden_act "gelu"`, config("hidden_act", "gelu")},
		{"negative size", "not above 0", config("hidden_size", -64)},
		{"other size", "the configuration asks for", config("intermediate_size", 96)},
		{"no JSON", "config.json", file("config.json", "{")},
		{"broken tokenizer", "tokenizer.json", file("tokenizer.json", "[]")},
		{"a list on two lines", `"rope_x" is [1,2], which`, config("rope_x", []int{1, 2})},
		{"ends beyond the vocabulary", "eos_token_id is 99999", file("generation_config.json", `{"eos_token_id":[0,99999]}`)},
		{"a negative end", "eos_token_id is -1", file("generation_config.json", `{"eos_token_id":-1}`)},
		{"broken ends", "eos_token_id", file("generation_config.json", `{"eos_token_id":"x"}`)},
		{"pickled weights", "pytorch_model.bin", func(t *testing.T) string {
			dir := file("pytorch_model.bin", "x")(t)
			must(t, os.Remove(filepath.Join(dir, weightsFile)))
			return dir
		}},
		{"weights of another name", "rename", func(t *testing.T) string {
			dir := file("x.safetensors", "x")(t)
			must(t, os.Remove(filepath.Join(dir, weightsFile)))
			return dir
		}},
		{"scales of quantised weights", "the weights are quantised", func(t *testing.T) string {
			d := newTinyDecoder(t, "tiny_llama", 280)
			d.shapes["model.layers.0.mlp.up_proj.weight_scale"], d.weights["model.layers.0.mlp.up_proj.weight_scale"] = []int{1}, []float32{1}
			return d.folder(t)
		}},
		{"broken weights", "not a valid safetensors file", file(weightsFile, "x")},
		{"empty folder", "is no model's folder", func(t *testing.T) string { return t.TempDir() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadDecoder(c.path(t), cpu.Open(0), shaders.F32)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant %q in one line of it", err, c.want)
			}
		})
	}
}

// withRows cuts the embedding.
func (d *tinyDecoder) withRows(t *testing.T, rows int) *tinyDecoder {
	t.Helper()
	cols := d.shapes[embedName][1]
	d.shapes[embedName], d.weights[embedName] = []int{rows, cols}, d.weights[embedName][:rows*cols]
	return d
}

// TestNoTemplate: a base model answers raw prompts, and cannot be trained.
func TestNoTemplate(t *testing.T) {
	d := newTinyDecoder(t, "tiny_llama", 280)
	d.set = `{"eos_token":"<|end|>"}`
	for _, path := range []string{d.folder(t), d.gguf(t, nil, nil)} {
		l, err := Load(path, cpu.Open(0))
		must(t, err)
		if _, err := l.Language.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "x"}}}, nil); !errors.Is(err, chat.ErrNoTemplate) {
			t.Errorf("got %v", err)
		}
		if raw, err := l.Language.Raw("the shape<|end|>", 0, BOSAuto); err != nil || raw.IDs[len(raw.IDs)-1] != l.Language.ends[0] {
			t.Errorf("the raw prompt is %v", raw.IDs)
		}
		err = trainDecoder(t, context.Background(), cpu.Open(0), testRecipe(t, 1), []string{testData(t, 20)}, path, filepath.Join(t.TempDir(), "run"), false, nil)
		if err == nil || !strings.Contains(err.Error(), "has no chat template") {
			t.Errorf("training: %v", err)
		}
	}
}

// FuzzGGUF opens whatever comes as a decoder, up to where its weights would be read.
func FuzzGGUF(f *testing.F) {
	for _, family := range tinyFamilies {
		d := newTinyDecoder(f, family, 259)
		d.tokens = tinyTokens{tokens: []string{"<|end|>", "a", "b", "ab"}, kinds: []int32{3, 1, 1, 1}, merges: []string{"a b"}}
		for name := range d.weights { // headers are what is looked at
			d.weights[name] = d.weights[name][:d.shapes[name][len(d.shapes[name])-1]]
			if len(d.shapes[name]) == 2 {
				d.shapes[name] = []int{1, d.shapes[name][1]}
			}
		}
		data, err := os.ReadFile(d.gguf(f, nil, nil))
		must(f, err)
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "x.gguf")
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(path, data, 0o644))
		p, err := OpenPretrained(path)
		if err != nil {
			return
		}
		defer p.Close()
		if tok, err := ggufTokenizer(p.weights.(*ggufSource).File); err == nil { // templates have a target of their own
			tok.Decode(plainIDs(tok, "abba <|end|>"), false)
		}
		if m, err := NewModel(p.config(), Init{}); err == nil {
			_ = p.check(m) // any error is a good one
		}
	})
}
