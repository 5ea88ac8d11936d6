package pretrained_test

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/golden"
	"patchwork/internal/require"
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
	dir := golden.Dir(t, family)
	g := &tinyGemma{decoder: &vlmtest.TinyDecoder{Shapes: map[string][]int{}, Weights: map[string][]float32{}, Tokens: vlmtest.NewTinyTokens(t, 280)}}
	golden.JSON(t, filepath.Join(dir, config), &g.config)
	f, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		g.decoder.Shapes[name], g.decoder.Weights[name] = x.Shape, require.Value(f.Float32(name))(t)
	}
	set, err := pretrained.Presets.ReadFile("presets/shapes/tokenizer_config.json")
	require.NoError(t, err)
	g.decoder.TokenizerConfig, g.decoder.Config = string(set), g.config
	return g
}

// text is the part of the configuration that describes the decoder.
func (g *tinyGemma) text() map[string]any {
	if text, ok := g.config["text_config"].(map[string]any); ok {
		return text
	}
	return g.config
}

// values are a parameter's golden values, as parameters hold them.
func (g *tinyGemma) values(p string) []float32 {
	name := strings.TrimPrefix(p, vlm.DecoderPrefix)
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
	dev := cpu.Open(0)
	l, err := pretrained.Load(path, dev)
	require.NoError(t, err)
	defer l.Close()
	for _, p := range l.Params.All() {
		got, err := l.Params.Read(dev, l.Params.Weights, p)
		require.NoError(t, err)
		want := g.values(p.Name)
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
// spellings of the names.
func TestGoldenGemmaWhole(t *testing.T) {
	for _, nested := range []bool{false, true} {
		g := newTinyGemma(t, "tiny_gemma4", "config.json")
		renamed := map[string]string{}
		for name := range maps.Clone(g.decoder.Weights) {
			to := strings.Replace(strings.Replace(name, "model.embed_vision.", "model.embed_vision.multimodal_embedder.", 1), "model.vision_embedder.", "model.embed_vision.", 1)
			if nested && to != name {
				g.decoder.Rename(name, to, false)
				renamed[name] = to
			}
		}
		p, err := pretrained.Open(g.decoder.Folder(t))
		require.NoError(t, err)
		defer p.Close()
		if p.Whole == nil || p.Whole.Vision.None() || p.Whole.Audio.None() || p.Whole.Attention != packing.DocumentBidirectionalImage {
			t.Fatalf("nested=%v: the configuration is %+v", nested, p.Whole)
		}
		m, err := vlm.NewModel(*p.Whole, vlm.Init{})
		require.NoError(t, err)
		require.NoError(t, p.Check(m))
		dev := cpu.Open(0)
		require.NoError(t, m.Allocate(dev, false))
		defer m.Close()
		require.NoError(t, p.LoadWeights(dev, m))
		for _, param := range m.Params.All() {
			got := require.Value(m.Params.Read(dev, m.Params.Weights, param))(t)
			want := g.values(param.Name)
			if !strings.HasPrefix(param.Name, vlm.DecoderPrefix) {
				name, axis := "model."+param.Name, slices.Index([]string{".x", ".y"}, param.Name[len(param.Name)-2:])
				if axis >= 0 {
					name = name[:len(name)-2]
				}
				want = g.decoder.Weights[cmp.Or(renamed[name], name)]
			}
			if strings.Contains(param.Name, "pos_embedding") {
				want = axisOf(want, strings.HasSuffix(param.Name, ".y"), param.Shape[1])
			}
			if !slices.Equal(got, want) {
				t.Errorf("nested=%v: %s differs", nested, param.Name)
			}
		}
	}
}

// axisOf are the vectors of columns or of rows in a table [side, 2, cols].
func axisOf(table []float32, rows bool, cols int) (out []float32) {
	if rows {
		table = table[cols:]
	}
	for ; len(table) >= cols; table = table[min(2*cols, len(table)):] {
		out = append(out, table[:cols]...)
	}
	return out
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
	out := filepath.Join(t.TempDir(), "exported")
	_, err := pretrained.Export(context.Background(), pretrained.ExportOptions{Model: g.decoder.Folder(t), Out: out, DType: "f32", DecoderOnly: true})
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
