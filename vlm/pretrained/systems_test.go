package pretrained_test

import (
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// TestSystemsFiles: models with every embedder and with image experts are read from a folder and from a
// GGUF file as they were saved: every weight, and the answer.
func TestSystemsFiles(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	for _, name := range append(slices.Clone(vlm.EmbedderNames), "experts") {
		t.Run(name, func(t *testing.T) {
			c := vlmtest.Config(t, packing.Document)
			if c.ImageExperts = name == "experts"; !c.ImageExperts {
				c.Vision.SetEmbedder(name)
			}
			m := vlmtest.ModelWithConfig(t, dev, c, shaders.F32)
			defer m.Close()
			dir, file := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "model.gguf")
			require.NoError(t, pretrained.Save(m.Model, m.Processor, dir, pretrained.ValuesOn(m.Model, dev)))
			_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: dir, Out: file, Quantize: "f32"})
			require.NoError(t, err)
			want := answerOf(t, m)
			for _, path := range []string{dir, file} {
				r, err := pretrained.Load(path, dev)
				require.NoError(t, err)
				if r.Config.Vision != c.Vision || r.Config.ImageExperts != c.ImageExperts {
					t.Errorf("%s: the configuration is read as %+v", path, r.Config)
				}
				for _, p := range m.Params.All() {
					got := require.Value(r.Params.Read(dev, r.Params.Weights, r.Params.ByName(p.Name)))(t)
					if !slices.Equal(got, require.Value(m.Params.Read(dev, m.Params.Weights, p))(t)) {
						t.Errorf("%s: %s differs", path, p.Name)
					}
				}
				if got := answerOf(t, r); !slices.Equal(got, want) {
					t.Errorf("%s: the answer is %v, want %v", path, got, want)
				}
				r.Close()
			}
		})
	}
}

// answerOf are the first tokens of an answer about an image.
func answerOf(t *testing.T, r *vlm.Runner) []int32 {
	prompt := require.Value(r.Processor.Prompt(chat.Conversation{Images: 1, Turns: []chat.Turn{{User: "what color is the shape?"}}}, nil))(t)
	g := generate.New(r)
	defer g.Close()
	out, err := g.Generate(t.Context(), prompt, [][]byte{vlmtest.Pixels(t, 0)}, generate.Options{MaxNewTokens: 6})
	require.NoError(t, err)
	return out.IDs
}
