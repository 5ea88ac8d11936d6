package vlm

import (
	"context"
	"encoding/json"
	"testing"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
	"patchwork/vlm/picture"
)

// testConfig is the shapes preset's model with two layers.
func ConfigOf(t testing.TB, attention batch.Attention) ModelConfig {
	t.Helper()
	text, err := Presets.ReadFile("presets/shapes/recipe.json")
	NoError(t, err)
	var r struct {
		Vision VisionConfig `json:"vision_config"`
		Text   TextConfig   `json:"text_config"`
		Turns  batch.Turns  `json:"turns"`
		Init   Init         `json:"init"`
	}
	NoError(t, json.Unmarshal(text, &r))
	r.Text.NumHiddenLayers = 2
	if attention == batch.Seed {
		r.Turns = batch.InConversation
	}
	return ModelConfig{Config{ModelType: ModelType, Vision: r.Vision, Text: r.Text, Attention: attention, Turns: r.Turns, FormatVersion: FormatVersion}, r.Init}
}

// ModelConfig is a model's configuration and how its parameters start.
type ModelConfig struct {
	Config
	Init Init
}

// WithText is the configuration with another decoder.
func (c ModelConfig) WithText(text TextConfig) ModelConfig {
	c.Text, c.Vision.HiddenSize = text, text.HiddenSize
	return c
}

// testModel is the shapes preset's model with two layers and random weights.
func Model0(t testing.TB, dev engine.Device, attention batch.Attention) *Runner {
	t.Helper()
	return ModelIn(t, dev, attention, shaders.F32)
}

// testModelIn is testModel with its matrices in a type of floats.
func ModelIn(t testing.TB, dev engine.Device, attention batch.Attention, storage shaders.Type) *Runner {
	t.Helper()
	return ModelOf(t, dev, ConfigOf(t, attention), storage)
}

// testModelOf is a configuration's model with random weights and the shapes preset's tokenizer.
func ModelOf(t testing.TB, dev engine.Device, c ModelConfig, storage shaders.Type) *Runner {
	t.Helper()
	l, err := PresetProcessor("shapes", c.Vision.Patches())
	NoError(t, err)
	c.ImageTokenID = int(l.ImageID())
	m, err := NewModel(c.Config, c.Init)
	NoError(t, err)
	m.StoreHalf(storage)
	NoError(t, m.Allocate(dev, false))
	NoError(t, m.Params.Initialise(dev, 3))
	return &Runner{m, l, dev}
}

// logits runs one sample in a row of its own and returns [T,V].
func Logits(t testing.TB, l *Runner, s *batch.Sample, turns batch.Turns, pixels []byte) []float32 {
	t.Helper()
	b, err := batch.Build(batch.Shape{Rows: 1, T: s.Len(), Patches: l.Config.Vision.Patches()},
		batch.Modes{Attention: l.Config.Attention, Turns: turns, Loss: batch.OnAll}, [][]*batch.Sample{{s}})
	NoError(t, err)
	in := l.NewInputs(1, s.Len(), len(s.Images), s.Len())
	NoError(t, in.Allocate(l.Device))
	defer in.Free()
	var y *nn.Tensor
	program, err := nn.Record("logits", nn.Options{Params: l.Params}, func(g *nn.Graph) {
		y = g.Keep(l.Logits(g, l.Hidden(g, in, nil)))
	})
	NoError(t, err)
	plan, err := l.Plan(program)
	NoError(t, err)
	exe, err := l.Device.Compile(plan, nil)
	NoError(t, err)
	defer exe.Free()
	var step [shaders.StepWords]uint32
	_, err = in.Upload(l.Device, b, pixels, &step)
	NoError(t, err)
	NoError(t, exe.Run(context.Background(), &step))
	out := make([]float32, y.Size())
	NoError(t, engine.DownloadTemp(l.Device, exe, y.View(), out))
	return out
}

// testPixels is an image of a square, as the model takes it: [64,64,3].
func Pixels(t testing.TB, color int) []byte {
	t.Helper()
	img, err := picture.Decode(Image(t, Colors[color].RGB, 5, 9, 30))
	NoError(t, err)
	return picture.Preprocess(img, 64)
}

// Qwen3 is a small decoder of Qwen3's kind: norms on queries and keys, fewer
// key heads, heads that are wider together than the hidden state.
func Qwen3(c TextConfig) *TextConfig {
	c.ModelType, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim = "qwen3", 4, 2, 32
	return &c
}
