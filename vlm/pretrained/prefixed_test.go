package pretrained_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// prefixed is a golden model under other prefixes, its tables of positions [1, side, D]. config is the
// decoder's config.json, alone or in an object.
func prefixed(t *testing.T, family, embedder, connector, decoder string, nested bool) (d *vlmtest.TinyDecoder, want map[string][]float32) {
	t.Helper()
	d = vlmtest.GoldenDecoder(t, family, "config.json")
	want = map[string][]float32{}
	for name := range d.Weights {
		want[name] = d.Weights[name]
	}
	for name := range want {
		to := strings.Replace(strings.Replace(name, "embedder.", embedder, 1), "connector.", connector, 1)
		if inner, ok := strings.CutPrefix(name, vlm.DecoderPrefix); ok {
			to = decoder + inner
		}
		if strings.HasSuffix(name, "_pos_emb") {
			d.Shapes[name] = slices.Concat([]int{1}, d.Shapes[name])
		}
		d.Rename(name, to, false)
	}
	d.Tokens = vlmtest.NewTinyTokens(t, 280)
	set, err := pretrained.Presets.ReadFile("presets/shapes/tokenizer_config.json")
	require.NoError(t, err)
	d.TokenizerConfig = string(set)
	if d.Config = d.Config["decoder"].(map[string]any); nested {
		d.Config = map[string]any{"llm": d.Config, "lr": 1e-4}
	}
	return d, want
}

// TestPrefixedFolder: models that other programs have saved under their own prefixes have the parameters
// that they were saved with, and become a folder, a file and a decoder.
func TestPrefixedFolder(t *testing.T) {
	for _, c := range []struct {
		family, embedder, connector, decoder string
		nested, copied                       bool
	}{
		{"tiny_qwen3", "vision.", "vision.connector.", "language_model.", false, false},
		{"tiny_qwen3", "embedder.embedder.", "embedder.connector.proj.", "llm.", true, true},
		{"tiny_qwen3_untied", "", "connector.", "decoder.base.", false, false},
	} {
		d, want := prefixed(t, c.family, c.embedder, c.connector, c.decoder, c.nested)
		if c.copied {
			d.Rename(c.decoder+pretrained.EmbeddingName, c.decoder+pretrained.HeadName, true)
		}
		dir := d.Folder(t)
		checkPrefixed(t, dir, want)
		for _, o := range []pretrained.ExportOptions{{Out: "folder", DType: "f32"}, {Out: "one.gguf", Quantize: "f32"}} {
			o.Model, o.Out = dir, filepath.Join(t.TempDir(), o.Out)
			require.Value(pretrained.Export(context.Background(), o))(t)
			checkPrefixed(t, o.Out, want)
		}
		decoder := filepath.Join(t.TempDir(), "decoder")
		require.Value(pretrained.Export(context.Background(), pretrained.ExportOptions{Model: dir, Out: decoder, DType: "f32", DecoderOnly: true}))(t)
		if is := require.Value(pretrained.IsDecoder(decoder))(t); !is {
			t.Error("--decoder-only wrote the embedder")
		}
	}
}

func checkPrefixed(t *testing.T, path string, want map[string][]float32) {
	t.Helper()
	l, err := pretrained.Load(path, cpu.Open(0))
	require.NoError(t, err)
	defer l.Close()
	if v := l.Config.Vision; v.ImageSize != 48 || v.PatchSize != 8 || l.Config.Attention != packing.Causal || l.Config.ImageTokenID != 280 {
		t.Errorf("%s: %+v, attention %s, image token %d", path, v, l.Config.Attention, l.Config.ImageTokenID)
	}
	for _, p := range l.Params.All() {
		if got := require.Value(l.Params.Read(l.Device, l.Params.Weights, p))(t); !slices.Equal(got, want[p.Name]) {
			t.Errorf("%s: %s differs", path, p.Name)
		}
	}
}

// TestPrefixedMistakes: one line lists all that is not found and all that is left over.
func TestPrefixedMistakes(t *testing.T) {
	for _, c := range []struct {
		change func(d *vlmtest.TinyDecoder)
		want   []string
	}{
		{func(d *vlmtest.TinyDecoder) {
			d.Rename("vision.ln2.weight", "vision.norm.weight", false)
			d.Rename("llm.model.layers.1.mlp.up_proj.weight", "llm.model.layers.1.mlp.fc_in.weight", false)
		}, []string{"embedder.ln2.weight [48]", "model.layers.1.mlp.up_proj.weight [96 48]", "not used: ", "vision.norm.weight", "llm.model.layers.1.mlp.fc_in.weight"}},
		{func(d *vlmtest.TinyDecoder) { d.Shapes["vision.x_pos_emb"] = []int{1, 48, 6} }, []string{"embedder.x_pos_emb [6 48] (vision.x_pos_emb is [48 6])"}},
		{func(d *vlmtest.TinyDecoder) {
			d.Shapes["extra.scale"], d.Weights["extra.scale"] = []int{1}, []float32{1}
		}, []string{"belong to no parameter: extra.scale"}},
		{func(d *vlmtest.TinyDecoder) { d.Config = map[string]any{"image_size": 32} }, []string{"put the config.json of the decoder"}},
		{func(d *vlmtest.TinyDecoder) { d.Shapes["vision.fc.weight"] = []int{144, 64} }, []string{"square patch of 3 channels"}},
	} {
		d, _ := prefixed(t, "tiny_qwen3", "vision.", "vision.connector.", "llm.", false)
		c.change(d)
		_, err := pretrained.Load(d.Folder(t), cpu.Open(0))
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("want %q, got %v", want, err)
			}
		}
	}
}
