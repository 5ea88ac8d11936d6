package vlm

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
	"patchwork/vlm/packing"
)

// goldenWeight is the name of the projection in the golden files: transformers'.
const goldenWeight = "model.embed_audio.embedding_projection.weight"

// TestGoldenGemmaAudio compares frames, norm and projection of clips on every device.
func TestGoldenGemmaAudio(t *testing.T) {
	for _, dir := range golden.Dirs(t, "gemma4_audio") {
		var index struct {
			Clips []struct{ Samples, Frames int }
		}
		golden.JSON(t, filepath.Join(dir, "index.json"), &index)
		values, err := safetensors.Open(filepath.Join(dir, "values.safetensors"))
		require.NoError(t, err)
		defer values.Close()
		weights, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		defer weights.Close()
		shape, ok := weights.Tensor(goldenWeight)
		if !ok {
			t.Fatalf("%s has no %s", dir, goldenWeight)
		}
		for _, dev := range devices.Open(t) {
			m := hearingModel(t, AudioConfig{SampleRate: 16_000, FrameSize: shape.Shape[1], HiddenSize: shape.Shape[0], RMSNormEps: 1e-6}, VisionConfig{})
			require.NoError(t, m.Allocate(dev, false))
			defer m.Close()
			require.NoError(t, m.Params.Write(dev, m.audio.projection.Weight, require.Value(weights.Float32(goldenWeight))(t)))
			for _, clip := range index.Clips {
				t.Run(fmt.Sprintf("%s/%d", dev.Info().Device, clip.Samples), func(t *testing.T) {
					want := func(name string) []float32 {
						return require.Value(values.Float32(fmt.Sprintf("n%d.%s", clip.Samples, name)))(t)
					}
					compareClip(t, m, dev, want)
				})
			}
		}
	}
}

func compareClip(t *testing.T, m *Model, dev engine.Device, want func(name string) []float32) {
	rtol := 1e-4 // golden/README.md
	if dev.Info().Device == "cpu" {
		rtol = 0
	}
	samples := want("samples")
	frames := m.Config.Audio.Frames(samples)
	golden.Compare(t, "frames", frames, want("frames"), golden.Tolerance{})
	n := m.Config.Audio.Tokens(len(samples))
	trace := m.runSound(t, dev, frames, n)
	golden.Compare(t, "rms", trace["audio.rms"], want("rms"), golden.Tolerance{Atol: 1e-5, Rtol: rtol})
	golden.Compare(t, "projection", trace["audio.projection"], want("projection"), golden.Tolerance{Atol: 1e-5, Rtol: rtol})
}

// runSound runs the embedder over n frames, which are all tokens of a batch, and returns the rows in
// use of its trace.
func (m *Model) runSound(t *testing.T, dev engine.Device, frames []float32, n int) map[string][]float32 {
	t.Helper()
	in := m.NewInputs(1, n+3, 0, n+3)
	require.NoError(t, in.Allocate(dev))
	defer in.Close()
	trace := Trace{}
	program, err := nn.Record("sound", nn.Options{Params: m.Params}, func(g *nn.Graph) { m.features(g, in, trace) })
	require.NoError(t, err)
	exe, err := dev.Compile(require.Value(m.Plan(program))(t), nil)
	require.NoError(t, err)
	defer exe.Free()
	sample := &packing.Sample{IDs: make([]int32, n+1), LossMask: make([]bool, n+1), Clips: clipAt(1, n)}
	b, err := packing.Build(packing.Shape{Rows: 1, T: n + 3}, packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll}, [][]*packing.Sample{{sample}})
	require.NoError(t, err)
	b.Frames = frames
	var step [shaders.StepWords]uint32
	_, err = in.Upload(dev, b, nil, &step)
	require.NoError(t, err)
	require.NoError(t, exe.Run(context.Background(), &step))
	out := map[string][]float32{}
	for name, x := range trace {
		values := make([]float32, x.Size())
		require.NoError(t, engine.DownloadTemp(dev, exe, x.View(), values))
		out[name] = values[:n*x.Cols()]
	}
	return out
}
