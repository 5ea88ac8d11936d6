package pretrained_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// tinyGemma is a golden Gemma model with a tokenizer, which can be changed and written.
type tinyGemma struct {
	config  map[string]any
	decoder *vlmtest.TinyDecoder // its tensors have the golden files' names
}

func newTinyGemma(t *testing.T, family, config string) *tinyGemma {
	t.Helper()
	if family == "tiny_gemma4" {
		d := vlmtest.NewTinyGemma(t, config)
		return &tinyGemma{d.Config, d}
	}
	d := vlmtest.GoldenDecoder(t, family, config)
	d.Tokens = vlmtest.NewTinyTokens(t, 280)
	set, err := pretrained.Presets.ReadFile("presets/shapes/tokenizer_config.json")
	require.NoError(t, err)
	d.TokenizerConfig = string(set)
	return &tinyGemma{d.Config, d}
}

// text is the part of the configuration that describes the decoder.
func (g *tinyGemma) text() map[string]any {
	if text, ok := g.config["text_config"].(map[string]any); ok {
		return text
	}
	return g.config
}

// values are a parameter's golden values, as parameters hold them.
func (g *tinyGemma) values(p *nn.Param) []float32 {
	name, inDecoder := strings.CutPrefix(p.Name, vlm.DecoderPrefix)
	if !inDecoder {
		table := strings.TrimSuffix(strings.TrimSuffix(name, ".x"), ".y")
		values := g.decoder.Weights["model."+table]
		if table != name {
			return vlmtest.AxisOf(values, strings.HasSuffix(name, ".y"), p.Shape[1])
		}
		return values
	}
	values, ok := g.decoder.Weights[name]
	if !ok {
		return g.decoder.Weights[strings.Replace(name, "model.", "model.language_model.", 1)]
	}
	if values = slices.Clone(values); strings.HasSuffix(name, "norm.weight") {
		for i := range values {
			values[i]++
		}
	}
	return values
}

func (g *tinyGemma) check(t *testing.T, form, path string) {
	t.Helper()
	l, err := pretrained.Load(path, cpu.Open(0))
	require.NoError(t, err)
	defer l.Close()
	g.compare(t, form, l)
}

// compare compares a model's parameters with the golden ones.
func (g *tinyGemma) compare(t *testing.T, form string, l *vlm.Runner) {
	t.Helper()
	for _, p := range l.Params.All() {
		got, err := l.Params.Read(l.Device, l.Params.Weights, p)
		require.NoError(t, err)
		want := g.values(p)
		if len(want) == 0 || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s: %s differs", form, p.Name)
		}
	}
}

// TestGoldenGemmaForms: a folder in both spellings of its configuration, a sharded one, and a GGUF
// file that export has written give the golden parameters.
func TestGoldenGemmaForms(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		t.Run(family, func(t *testing.T) {
			var texts []vlm.TextConfig
			for _, config := range []string{"config.json", "config.transformers.json"} {
				g := newTinyGemma(t, family, config)
				folder := g.decoder.Folder(t)
				g.check(t, config, folder)
				g.check(t, config+" in shards", g.decoder.Sharded(t))
				p, err := pretrained.Open(folder)
				require.NoError(t, err)
				p.Close()
				texts = append(texts, p.Text)
			}
			if a, b := texts[0], texts[1]; !slices.Equal(a.LayerTypes, b.LayerTypes) || a.SlidingRopeTheta != b.SlidingRopeTheta || a.RopeTheta != b.RopeTheta ||
				a.GlobalHeadDim != b.GlobalHeadDim || a.GlobalKVHeads != b.GlobalKVHeads || a.QueryPreAttnScalar != b.QueryPreAttnScalar {
				t.Errorf("the spellings give %+v and %+v", a, b)
			}
			g := newTinyGemma(t, family, "config.json")
			if family == "tiny_gemma3" { // a GGUF file implies these
				g.text()["layer_types"], g.text()["query_pre_attn_scalar"] = nil, 16
			}
			out := filepath.Join(t.TempDir(), "gemma.gguf")
			_, err := pretrained.Export(context.Background(), pretrained.ExportOptions{Model: g.decoder.Folder(t), Out: out, Quantize: "f32", DType: "f32"})
			require.NoError(t, err)
			g.check(t, "GGUF", out)
			sameLayers(t, g.decoder.Folder(t), out)
		})
	}
}

// TestGoldenGemmaWhole: a model with its embedders of images and sound has the golden parameters, in both
// spellings of the names and of the configuration, in shards, and after an export as a folder and as a
// file; as a decoder it has none of them.
func TestGoldenGemmaWhole(t *testing.T) {
	for _, config := range []string{"config.json", "config.transformers.json"} {
		g := newTinyGemma(t, "tiny_gemma4", config)
		folder := g.decoder.Folder(t)
		g.checkWhole(t, config, folder)
		g.checkWhole(t, config+" in shards", g.decoder.Sharded(t))
		out := filepath.Join(t.TempDir(), "folder")
		require.Value(pretrained.Export(context.Background(), pretrained.ExportOptions{Model: folder, Out: out, DType: "f32"}))(t)
		g.checkWhole(t, "exported "+config, out)
		g.checkFiles(t, out)

		p, err := pretrained.Open(folder)
		require.NoError(t, err)
		defer p.Close()
		if p.Whole != nil {
			t.Errorf("%s: a decoder is opened with embedders", config)
		}
	}
	g := newTinyGemma(t, "tiny_gemma4", "config.json")
	nested := newTinyGemma(t, "tiny_gemma4", "config.json")
	for name := range g.decoder.Weights {
		nested.decoder.Rename(name, strings.Replace(strings.Replace(strings.Replace(name,
			"model.embed_audio.", "model.embed_audio.multimodal_embedder.", 1),
			"model.embed_vision.", "model.embed_vision.multimodal_embedder.", 1), "model.vision_embedder.", "model.embed_vision.", 1), false)
	}
	g.checkWhole(t, "names in memory", nested.decoder.Folder(t))
}

// checkWhole checks that a path has a Gemma 4 with both embedders.
func (g *tinyGemma) checkWhole(t *testing.T, form, path string) {
	t.Helper()
	g.check(t, form, path)
	c := require.Value(pretrained.ReadConfig(path, ""))(t)
	if c.Vision.None() || c.Audio.None() || c.Attention != packing.DocumentBidirectionalImage {
		t.Errorf("%s: the configuration is %+v", form, c)
	}
}

// checkFiles checks that an exported folder has the tensors of the golden files, and no others.
func (g *tinyGemma) checkFiles(t *testing.T, dir string) {
	t.Helper()
	file, err := safetensors.Open(filepath.Join(dir, pretrained.WeightsFile))
	require.NoError(t, err)
	defer file.Close()
	if len(file.Names()) != len(g.decoder.Weights) {
		t.Errorf("%d tensors, want %d", len(file.Names()), len(g.decoder.Weights))
	}
	for name, want := range g.decoder.Weights {
		x, _ := file.Tensor(name)
		if got := require.Value(file.Float32(name))(t); !slices.Equal(got, want) || !slices.Equal(x.Shape, g.decoder.Shapes[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// sameLayers compares the descriptions of all layers.
func sameLayers(t *testing.T, a, b string) {
	t.Helper()
	p, err := pretrained.Open(a)
	require.NoError(t, err)
	defer p.Close()
	q, err := pretrained.Open(b)
	require.NoError(t, err)
	defer q.Close()
	for i := range p.Text.NumHiddenLayers {
		if p.Text.Layer(i) != q.Text.Layer(i) {
			t.Errorf("layer %d: %+v and %+v", i, p.Text.Layer(i), q.Text.Layer(i))
		}
	}
	x, y := p.Text.AttentionKinds(), q.Text.AttentionKinds()
	for i := range x {
		if !slices.Equal(x[i].RoPETable(9), y[i].RoPETable(9)) || x[i].Window != y[i].Window {
			t.Errorf("kind of attention %d: %+v and %+v", i, x[i], y[i])
		}
	}
	if p.Text.FinalSoftCap != q.Text.FinalSoftCap || p.Text.ImagesBothWays != q.Text.ImagesBothWays {
		t.Errorf("soft cap %v and %v", p.Text.FinalSoftCap, q.Text.FinalSoftCap)
	}
}

// TestGoldenGemmaExport: a decoder is exported with the tensors that Hugging Face's files hold, and
// with the other parts of its model.
func TestGoldenGemmaExport(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		for _, config := range []string{"config.json", "config.transformers.json"} {
			t.Run(family+"/"+config, func(t *testing.T) { testGemmaExport(t, newTinyGemma(t, family, config)) })
		}
	}
}

func testGemmaExport(t *testing.T, g *tinyGemma) {
	only := filepath.Join(t.TempDir(), "only")
	require.Value(pretrained.Export(context.Background(), pretrained.ExportOptions{Model: g.decoder.Folder(t), Out: only, DType: "f32", DecoderOnly: true}))(t)
	g.check(t, "the decoder", only)
	if c := require.Value(pretrained.ReadConfig(only, ""))(t); !c.TextOnly() || c.Text.ModelType != g.text()["model_type"] {
		t.Errorf("--decoder-only wrote a %s with %+v and %+v", c.Text.ModelType, c.Vision, c.Audio)
	}
	out := filepath.Join(t.TempDir(), "exported")
	_, err := pretrained.Export(context.Background(), pretrained.ExportOptions{Model: g.decoder.Folder(t), Out: out, DType: "f32"})
	require.NoError(t, err)
	file, err := safetensors.Open(filepath.Join(out, pretrained.WeightsFile))
	require.NoError(t, err)
	defer file.Close()
	if len(file.Names()) != len(g.decoder.Weights) {
		t.Errorf("%d tensors, want %d", len(file.Names()), len(g.decoder.Weights))
	}
	for name, want := range g.decoder.Weights {
		got := require.Value(file.Float32(name))(t)
		golden.Compare(t, name, got, want, golden.Tolerance{Atol: 1.2e-7}) // (w + 1) - 1
	}
	var config map[string]any
	data, err := os.ReadFile(filepath.Join(out, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &config))
	for key, want := range g.config {
		if got, _ := json.Marshal(config[key]); string(got) != string(require.Value(json.Marshal(want))(t)) && key != "eos_token_id" {
			t.Errorf("%s is %s, want %v", key, got, want)
		}
	}
}

// TestGemmaMistakes: what a GGUF file of a gemma3 cannot express is an error that says so.
func TestGemmaMistakes(t *testing.T) {
	g := newTinyGemma(t, "tiny_gemma3", "config.json")
	out := filepath.Join(t.TempDir(), "gemma.gguf")
	_, err := pretrained.Export(context.Background(), pretrained.ExportOptions{Model: g.decoder.Folder(t), Out: out, Quantize: "f32", DType: "f32"})
	if err == nil || !strings.Contains(err.Error(), "layer 2") {
		t.Errorf("exported with another pattern: %v", err)
	}
}
