// Package vlmtest makes small models, pretrained decoders and datasets for tests.
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

// Config is the configuration of the shapes preset with two layers.
func Config(t testing.TB, attention packing.Attention) ModelConfig {
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

// ModelConfig is a model's configuration with its initialisation.
type ModelConfig struct {
	vlm.Config
	Init vlm.Init
}

// WithText returns the configuration with another decoder.
func (c ModelConfig) WithText(text vlm.TextConfig) ModelConfig {
	c.Text, c.Vision.HiddenSize = text, text.HiddenSize
	return c
}

// Model returns the model of Config with random weights.
func Model(t testing.TB, dev engine.Device, attention packing.Attention) *vlm.Runner {
	t.Helper()
	return ModelAs(t, dev, attention, shaders.F32)
}

// ModelAs is Model with the matrices stored in a type.
func ModelAs(t testing.TB, dev engine.Device, attention packing.Attention, storage shaders.Type) *vlm.Runner {
	t.Helper()
	return ModelWithConfig(t, dev, Config(t, attention), storage)
}

// ModelWithConfig returns a model with random weights and the tokenizer of the shapes preset.
func ModelWithConfig(t testing.TB, dev engine.Device, c ModelConfig, storage shaders.Type) *vlm.Runner {
	t.Helper()
	proc, err := pretrained.PresetProcessor("shapes", c.Vision.Patches())
	require.NoError(t, err)
	c.ImageTokenID = int(proc.ImageID())
	m, err := vlm.NewModel(c.Config, c.Init)
	require.NoError(t, err)
	m.StoreHalf(storage)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 3))
	return &vlm.Runner{Model: m, Processor: proc, Device: dev}
}

// Logits runs one sample and returns the logits, [T, V].
func Logits(t testing.TB, runner *vlm.Runner, s *packing.Sample, turns packing.Turns, pixels []byte) []float32 {
	t.Helper()
	return logits(t, runner, []*packing.Sample{s}, turns, pixels)
}

// LogitsOfRow is Logits of several samples in one row.
func LogitsOfRow(t testing.TB, runner *vlm.Runner, row []*packing.Sample, pixels []byte) []float32 {
	t.Helper()
	return logits(t, runner, row, packing.InConversation, pixels)
}

func logits(t testing.TB, runner *vlm.Runner, row []*packing.Sample, turns packing.Turns, pixels []byte) []float32 {
	t.Helper()
	length, images := 0, 0
	for _, s := range row {
		length, images = length+s.Len(), images+len(s.Images)
	}
	b, err := packing.Build(packing.Shape{Rows: 1, T: length, Patches: runner.Config.Vision.Patches()},
		packing.Modes{Attention: runner.Config.Attention, Turns: turns, Loss: packing.OnAll}, [][]*packing.Sample{row})
	require.NoError(t, err)
	in := runner.NewInputs(1, length, images, length)
	require.NoError(t, in.Allocate(runner.Device))
	defer in.Close()
	var y *nn.Tensor
	program, err := nn.Record("logits", nn.Options{Params: runner.Params}, func(g *nn.Graph) {
		tables := runner.VocabularyParams()
		y = g.Keep(g.Linear(runner.Hidden(g, in, nil), g.Param(tables[len(tables)-1]), nil, nil))
	})
	require.NoError(t, err)
	plan, err := runner.Plan(program)
	require.NoError(t, err)
	exe, err := runner.Device.Compile(plan, nil)
	require.NoError(t, err)
	defer exe.Free()
	var step [shaders.StepWords]uint32
	_, err = in.Upload(runner.Device, b, pixels, &step)
	require.NoError(t, err)
	require.NoError(t, exe.Run(context.Background(), &step))
	out := make([]float32, y.Size())
	require.NoError(t, engine.DownloadTemp(runner.Device, exe, y.View(), out))
	return out
}

// Pixels returns the preprocessed image of a square, [64, 64, 3].
func Pixels(t testing.TB, color int) []byte {
	t.Helper()
	img, err := image.Decode(Image(t, Colors[color].RGB, 5, 9, 30))
	require.NoError(t, err)
	return image.Preprocess(img, 64)
}

// Qwen3 makes a small decoder of the Qwen3 kind: QK norm, fewer key/value heads, and heads that
// together are wider than the hidden state.
func Qwen3(c vlm.TextConfig) *vlm.TextConfig {
	c.ModelType, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim = "qwen3", 4, 2, 32
	return &c
}
