package eval

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
)

// gemma3 loads Gemma 3 270M without its tokenizer: the golden files have ids.
func gemma3(t *testing.T, dev engine.Device, weights pretrained.Weights) *vlm.Runner {
	t.Helper()
	path := os.Getenv("PATCHWORK_GEMMA3_GGUF")
	if path == "" {
		t.Skip("PATCHWORK_GEMMA3_GGUF is not set; it names a GGUF file of Gemma 3 270M")
	}
	p, err := pretrained.Open(path)
	require.NoError(t, err)
	defer p.Close()
	m, err := vlm.NewModel(p.Config(), vlm.Init{})
	require.NoError(t, err)
	require.NoError(t, p.Check(m))
	if weights == pretrained.WeightsAuto {
		pretrained.LoadOptions{Weights: weights}.StoreBase(m, p)
	}
	require.NoError(t, m.Allocate(dev, false))
	t.Cleanup(m.Close)
	require.NoError(t, p.LoadWeights(dev, m))
	return &vlm.Runner{Model: m, Device: dev}
}

// gemma3Every: the golden logits of most prompts are those of every 16th token of the vocabulary.
const gemma3Every = 16

// TestGoldenGemma3270M compares logits and losses of Gemma 3 270M, token by token over a text longer
// than its window, and greedy continuations on the CPU. On a software GPU, which is slow, a part.
func TestGoldenGemma3270M(t *testing.T) {
	want := readDecoderGolden(t, "gemma3_270m")
	for _, dev := range devices.OpenNative(t) {
		info := dev.Info()
		t.Run(info.Device, func(t *testing.T) {
			l := gemma3(t, dev, "")
			rtol := 1e-5
			if info.Device == "cpu" {
				rtol = 0
			}
			prompts, ids := want.prompts, want.text.IDs
			if info.Kind == "software" {
				prompts, ids = prompts[:1], nil
			}
			for _, p := range prompts {
				nll, logits, err := Score(context.Background(), l, p.IDs)
				require.NoError(t, err)
				compareGemma3(t, want.values, p, nll, logits, rtol)
				if info.Device == "cpu" {
					if got := continuation(t, l, p.IDs, len(p.Greedy)); !slices.Equal(got, p.Greedy) {
						t.Errorf("%s: continuation\n %v, want\n %v", p.Name, got, p.Greedy)
					}
				}
			}
			if ids == nil {
				return
			}
			nll, _, err := Score(context.Background(), l, ids)
			require.NoError(t, err)
			golden.Compare(t, "text.nll", nll, require.Value(want.values.Float32("text.nll"))(t), golden.Tolerance{Atol: 2.8e-4, Rtol: rtol})
			if mean := mean(nll); math.Abs(mean-want.text.MeanNLL) > 1e-4 {
				t.Errorf("text: %v nats per token, want %v", mean, want.text.MeanNLL)
			}
		})
	}
}

func compareGemma3(t *testing.T, values *safetensors.File, p smolLM2Prompt, nll, logits []float32, rtol float64) {
	golden.Compare(t, p.Name+".nll", nll, require.Value(values.Float32(p.Name+".nll"))(t), golden.Tolerance{Atol: 2.8e-4, Rtol: rtol})
	for _, top := range p.Top20 {
		golden.Compare(t, p.Name+".top20", logits[top.ID:][:1], []float32{top.Logit}, golden.Tolerance{Atol: 2e-4, Rtol: rtol})
	}
	name, got := p.Name+".logits", logits
	if _, ok := values.Tensor(name); !ok {
		name, got = p.Name+".logits_every_16th", nil
		for i := 0; i < len(logits); i += gemma3Every {
			got = append(got, logits[i])
		}
	}
	golden.Compare(t, name, got, require.Value(values.Float32(name))(t), golden.Tolerance{Atol: 2e-4, Rtol: rtol})
}

// TestGoldenGemma3Stored compares logits with the file's blocks as they are, Q5_0, Q8_0, Q4_K and
// Q6_K, with the golden ones, as TestGoldenSmolLM2Stored does.
func TestGoldenGemma3Stored(t *testing.T) {
	want := readDecoderGolden(t, "gemma3_270m")
	for _, dev := range devices.OpenNative(t) {
		info := dev.Info()
		t.Run(info.Device, func(t *testing.T) {
			l := gemma3(t, dev, pretrained.WeightsAuto)
			bound := storedBound(info.Device)
			for _, p := range want.prompts[:1] {
				_, logits, err := Score(t.Context(), l, p.IDs)
				require.NoError(t, err)
				var worst float64
				for _, top := range p.Top20 {
					worst = max(worst, math.Abs(float64(logits[top.ID]-top.Logit)))
				}
				t.Logf("%s: logits off by %.3g", p.Name, worst)
				if !(worst <= bound) {
					t.Errorf("%s: a logit is off by %g, want at most %g", p.Name, worst, bound)
				}
			}
		})
	}
}

// TestGoldenGemma3Config compares the configuration made from the metadata.
func TestGoldenGemma3Config(t *testing.T) {
	l := gemma3(t, devices.Open(t)[0], pretrained.WeightsAuto)
	var want struct {
		LayerTypes []string `json:"layer_types"`
		Window     int      `json:"sliding_window"`
		Scalar     float64  `json:"query_pre_attn_scalar"`
		RoPE       map[string]struct {
			Theta float64 `json:"rope_theta"`
		} `json:"rope_parameters"`
	}
	golden.JSON(t, filepath.Join(golden.Dir(t, "gemma3_270m"), "config.json"), &want)
	c := l.Config.Text
	if !slices.Equal(c.LayerTypes, want.LayerTypes) || c.SlidingWindow != want.Window || c.QueryPreAttnScalar != want.Scalar ||
		c.RopeTheta != want.RoPE["full_attention"].Theta || c.SlidingRopeTheta != want.RoPE["sliding_attention"].Theta {
		t.Errorf("the configuration is %+v, want %+v", c, want)
	}
	if !l.Config.Text.NeedsRange() || l.Storage() != shaders.F32 {
		t.Errorf("activations of %v", l.Storage())
	}
}
