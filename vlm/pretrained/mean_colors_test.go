package pretrained_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// TestMeanColorsFolder: a model with mean colors is saved and read in every type, and one without
// has a config.json as before there were any.
func TestMeanColorsFolder(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, means := range []bool{false, true} {
		c := vlmtest.Config(t, packing.Document)
		c.Vision.MeanColors = means
		m := vlmtest.ModelWithConfig(t, dev, c, shaders.F32)
		dir := filepath.Join(t.TempDir(), "model")
		require.NoError(t, pretrained.Save(m.Model, m.Processor, dir, pretrained.ValuesOn(m.Model, dev)))
		config := filepath.Join(dir, "config.json")
		text, err := os.ReadFile(config)
		require.NoError(t, err)
		if strings.Contains(string(text), "mean_colors") != means {
			t.Errorf("with mean colors %v config.json is %s", means, text)
		}
		want := map[bool][]int{false: {96, 192}, true: {96, 195}}[means]
		for _, storage := range []shaders.Type{shaders.F32, shaders.BF16} {
			r, err := pretrained.LoadAs(dir, dev, storage)
			require.NoError(t, err)
			if fc := r.Params.ByName("embedder.fc.weight"); r.Config.Vision != c.Vision || !slices.Equal(fc.Shape, want) {
				t.Errorf("the configuration is read as %+v, embedder.fc.weight has shape %v, want %+v and %v", r.Config.Vision, fc.Shape, c.Vision, want)
			}
			prompt, err := r.Processor.Prompt(chat.Conversation{Images: 1, Turns: []chat.Turn{{User: "what color is the shape?"}}}, nil)
			require.NoError(t, err)
			out, err := generate.New(r).Generate(context.Background(), prompt, [][]byte{vlmtest.Pixels(t, 0)}, generate.Options{MaxNewTokens: 2})
			if err != nil || len(out.IDs) == 0 && out.Finish != "stop" {
				t.Errorf("%v: generated %+v: %v", storage, out, err)
			}
		}
		if !means {
			continue
		}
		require.NoError(t, os.WriteFile(config, []byte(strings.Replace(string(text), `"mean_colors": true`, `"mean_colors": false`, 1)), 0o644))
		if _, err := pretrained.Load(dir, dev); err == nil || !strings.Contains(err.Error(), "embedder.fc.weight") {
			t.Errorf("weights with mean colors in a model without: %v, want the tensor named", err)
		}
	}
}
