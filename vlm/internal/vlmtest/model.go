package vlmtest

import (
	"context"
	"encoding/json"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/image"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// testConfig is the shapes preset's model with two layers.
func ConfigOf(t testing.TB, attention packing.Attention) ModelConfig {
	t.Helper()
	text, err := pretrained.Presets.ReadFile("presets/shapes/recipe.json")
	require.NoError(t, err)
	var r struct {
		Vision vlm.VisionConfig `json:"vision_config"`
		Text   vlm.TextConfig   `json:"text_config"`
		Turns  packing.Turns    `json:"turns"`
		Init   vlm.Init         `json:"init"`
	}
	require.NoError(t, json.Unmarshal(text, &r))
	r.Text.NumHiddenLayers = 2
	if attention == packing.Causal {
		r.Turns = packing.InConversation
	}
	return ModelConfig{vlm.Config{ModelType: vlm.ModelType, Vision: r.Vision, Text: r.Text, Attention: attention, Turns: r.Turns, FormatVersion: vlm.FormatVersion}, r.Init}
}

// ModelConfig is a model's configuration and how its parameters start.
type ModelConfig struct {
	vlm.Config
	Init vlm.Init
}

// WithText is the configuration with another decoder.
func (c ModelConfig) WithText(text vlm.TextConfig) ModelConfig {
	c.Text, c.Vision.HiddenSize = text, text.HiddenSize
	return c
}

// testModel is the shapes preset's model with two layers and random weights.
func Model0(t testing.TB, dev engine.Device, attention packing.Attention) *vlm.Runner {
	t.Helper()
	return ModelIn(t, dev, attention, shaders.F32)
}

// testModelIn is testModel with its matrices in a type of floats.
func ModelIn(t testing.TB, dev engine.Device, attention packing.Attention, storage shaders.Type) *vlm.Runner {
	t.Helper()
	return ModelOf(t, dev, ConfigOf(t, attention), storage)
}

// testModelOf is a configuration's model with random weights and the shapes preset's tokenizer.
func ModelOf(t testing.TB, dev engine.Device, c ModelConfig, storage shaders.Type) *vlm.Runner {
	t.Helper()
	l, err := pretrained.PresetProcessor("shapes", c.Vision.Patches())
	require.NoError(t, err)
	c.ImageTokenID = int(l.ImageID())
	m, err := vlm.NewModel(c.Config, c.Init)
	require.NoError(t, err)
	m.StoreHalf(storage)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 3))
	return &vlm.Runner{Model: m, Processor: l, Device: dev}
}

// Logits runs one sample in a row of its own and returns [T,V].
func Logits(t testing.TB, l *vlm.Runner, s *packing.Sample, turns packing.Turns, pixels []byte) []float32 {
	t.Helper()
	b, err := packing.Build(packing.Shape{Rows: 1, T: s.Len(), Patches: l.Config.Vision.Patches()},
		packing.Modes{Attention: l.Config.Attention, Turns: turns, Loss: packing.OnAll}, [][]*packing.Sample{{s}})
	require.NoError(t, err)
	in := l.NewInputs(1, s.Len(), len(s.Images), s.Len())
	require.NoError(t, in.Allocate(l.Device))
	defer in.Close()
	var y *nn.Tensor
	program, err := nn.Record("logits", nn.Options{Params: l.Params}, func(g *nn.Graph) {
		tables := l.VocabularyParams()
		y = g.Keep(g.Linear(l.Hidden(g, in, nil), g.Param(tables[len(tables)-1]), nil, nil))
	})
	require.NoError(t, err)
	plan, err := l.Plan(program)
	require.NoError(t, err)
	exe, err := l.Device.Compile(plan, nil)
	require.NoError(t, err)
	defer exe.Free()
	var step [shaders.StepWords]uint32
	_, err = in.Upload(l.Device, b, pixels, &step)
	require.NoError(t, err)
	require.NoError(t, exe.Run(context.Background(), &step))
	out := make([]float32, y.Size())
	require.NoError(t, engine.DownloadTemp(l.Device, exe, y.View(), out))
	return out
}

// testPixels is an image of a square, as the model takes it: [64,64,3].
func Pixels(t testing.TB, color int) []byte {
	t.Helper()
	img, err := image.Decode(Image(t, Colors[color].RGB, 5, 9, 30))
	require.NoError(t, err)
	return image.Preprocess(img, 64)
}

// Qwen3 is a small decoder of Qwen3's kind: norms on queries and keys, fewer
// key heads, heads that are wider together than the hidden state.
func Qwen3(c vlm.TextConfig) *vlm.TextConfig {
	c.ModelType, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim = "qwen3", 4, 2, 32
	return &c
}
