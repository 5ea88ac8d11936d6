package vlm

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/packing"
)

// TestQwen2: a Qwen2 decoder is a Llama with biases of queries, keys and values, and none of o_proj.
func TestQwen2(t *testing.T) {
	const tokens = 9
	var losses [][]float32
	for _, kind := range []string{`"qwen2"`, `"llama", "attention_bias": true`} {
		var text TextConfig
		require.NoError(t, json.Unmarshal([]byte(`{"model_type": `+kind+`, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
			"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 50, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6}`), &text))
		m, err := NewModel(Config{ModelType: ModelType, Text: text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: FormatVersion}, Init{FanIn: true, Embedding: 1})
		require.NoError(t, err)
		dev := cpu.Open(0)
		require.NoError(t, m.Allocate(dev, false))
		defer m.Close()
		require.NoError(t, m.Params.Initialise(dev, 1))
		for _, p := range m.Params.All() {
			isBias := strings.HasSuffix(p.Name, ".bias")
			if got, want := isBias && strings.Contains(p.Name, "o_proj"), false; text.ModelType == "qwen2" && got != want {
				t.Errorf("there is %s", p.Name)
			}
			if isBias && !strings.Contains(p.Name, "o_proj") {
				random := rand.New(rand.NewPCG(uint64(len(p.Name)), uint64(p.Count())))
				values := make([]float32, p.Count())
				for i := range values {
					values[i] = float32(random.NormFloat64())
				}
				require.NoError(t, m.Params.Write(dev, p, values))
			}
		}
		losses = append(losses, lossesOf(t, m, dev, tokens))
	}
	if !slices.Equal(losses[0], losses[1]) {
		t.Errorf("losses %v and %v", losses[0], losses[1])
	}
}

// lossesOf are the losses of a model's tokens.
func lossesOf(t *testing.T, m *Model, dev engine.Device, tokens int) []float32 {
	in := m.NewInputs(1, tokens, 0, tokens)
	require.NoError(t, in.Allocate(dev))
	defer in.Close()
	b := &packing.Batch{Shape: packing.Shape{Rows: 1, T: tokens}, Segments: make([]int32, tokens), ImageSlots: slices.Repeat([]int32{-1}, tokens)}
	for i := range int32(tokens) {
		b.IDs, b.Targets, b.Positions = append(b.IDs, 5*i), append(b.Targets, (7*i+3)%50), append(b.Positions, i)
		b.Intervals = append(b.Intervals, 0, 0, 0, i+1)
	}
	var step [shaders.StepWords]uint32
	_, err := in.Upload(dev, b, nil, &step)
	require.NoError(t, err)
	var loss nn.HeadLoss
	program, err := nn.Record("losses", nn.Options{Params: m.Params}, func(g *nn.Graph) {
		loss = m.Loss(g, in, nil)
		g.Keep(loss.NLL)
	})
	require.NoError(t, err)
	exe, err := dev.Compile(require.Value(m.Plan(program))(t), nil)
	require.NoError(t, err)
	defer exe.Free()
	require.NoError(t, exe.Run(context.Background(), &step))
	values := make([]float32, tokens)
	require.NoError(t, engine.DownloadTemp(dev, exe, loss.NLL.View(), values))
	return values
}
