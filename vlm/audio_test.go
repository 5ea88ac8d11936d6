package vlm

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// hearingModel is a model of one layer, with images unless v is zero.
func hearingModel(t *testing.T, a AudioConfig, v VisionConfig) *Model {
	t.Helper()
	text := TextConfig{
		ModelType: "llama", HiddenSize: a.HiddenSize, IntermediateSize: 32, NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 2,
		HeadDim: 8, VocabSize: 40, MaxPositionEmbeddings: 256, RopeTheta: 1e4, RMSNormEps: 1e-5, TieWordEmbeddings: true,
	}
	c := Config{
		ModelType: ModelType, FormatVersion: FormatVersion, Vision: v, Audio: a, Text: text, AudioTokenID: 38,
		Attention: packing.Document, Turns: packing.InConversation,
	}
	if !v.None() {
		c.ImageTokenID = 39
	}
	m, err := NewModel(c, Init{FanIn: true, Embedding: 0.5, Positions: 0.5})
	require.NoError(t, err)
	return m
}

func clipAt(start, tokens int) []chat.Clip { return []chat.Clip{{Start: start, Tokens: tokens}} }

// TestAudioFrames: a clip has as many frames as cover it, and at least one.
func TestAudioFrames(t *testing.T) {
	samples := []float32{1, 2, 3, 4, 5}
	for _, c := range []struct {
		n, size, hop int
		want         []float32
	}{
		{0, 2, 0, []float32{0, 0}},
		{1, 2, 0, []float32{1, 0}},
		{2, 2, 0, []float32{1, 2}},
		{3, 2, 0, []float32{1, 2, 3, 0}},
		{4, 2, 0, []float32{1, 2, 3, 4}},
		{5, 4, 2, []float32{1, 2, 3, 4, 3, 4, 5, 0}},
		{4, 4, 2, []float32{1, 2, 3, 4}},
		{5, 3, 1, []float32{1, 2, 3, 2, 3, 4, 3, 4, 5}},
	} {
		a := AudioConfig{FrameSize: c.size, HopSize: c.hop}
		if got := a.Frames(samples[:c.n]); !slices.Equal(got, c.want) || a.Tokens(c.n)*c.size != len(c.want) {
			t.Errorf("%d samples in frames of %d, hop %d: %v (%d tokens), want %v", c.n, c.size, c.hop, got, a.Tokens(c.n), c.want)
		}
	}
}

// TestAudioConfigCheck: settings that do not fit together are refused with one line.
func TestAudioConfigCheck(t *testing.T) {
	good := AudioConfig{SampleRate: 16_000, FrameSize: 640, HiddenSize: 16, RMSNormEps: 1e-6}
	for _, c := range []struct {
		want   string
		change func(c *Config)
	}{
		{"", func(*Config) {}},
		{"", func(c *Config) { c.Audio.HopSize = 640 }},
		{"sample_rate is 0", func(c *Config) { c.Audio.SampleRate = 0 }},
		{"frame_size is 0", func(c *Config) { c.Audio.FrameSize = 0 }},
		{"hop_size is 641", func(c *Config) { c.Audio.HopSize = 641 }},
		{"hop_size is -1", func(c *Config) { c.Audio.HopSize = -1 }},
		{"rms_norm_eps", func(c *Config) { c.Audio.RMSNormEps = 0 }},
		{"audio_config.hidden_size is 17", func(c *Config) { c.Audio.HiddenSize = 17 }},
		{"audio_token_id 40 is outside", func(c *Config) { c.AudioTokenID = 40 }},
	} {
		config := hearingModel(t, good, VisionConfig{}).Config
		c.change(&config)
		err := config.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// hearing is a batch of a model that sees and hears: a row with an image, text and two clips, and a
// row with a clip alone.
type hearing struct {
	t     *testing.T
	dev   engine.Device
	model *Model
	in    *Inputs
	loss  nn.HeadLoss
	exe   engine.Executable
	step  [shaders.StepWords]uint32
}

func newHearing(t *testing.T, images bool) *hearing {
	v := VisionConfig{}
	if images {
		v = VisionConfig{ImageSize: 8, PatchSize: 4, NumChannels: 3, HiddenSize: 16, MaxGrid: 2, LayerNormEps: 1e-5, PatchNormEps: 1}
	}
	return startHearing(t, hearingModel(t, AudioConfig{SampleRate: 16_000, FrameSize: 6, HiddenSize: 16, RMSNormEps: 1e-6}, v), images)
}

// startHearing compiles a model's gradients, and uploads a batch.
func startHearing(t *testing.T, m *Model, images bool) *hearing {
	dev := cpu.Open(1)
	t.Cleanup(func() { dev.Close() })
	return startHearingOn(t, dev, m, images)
}

func startHearingOn(t *testing.T, dev engine.Device, m *Model, images bool) *hearing {
	h := &hearing{t: t, dev: dev, model: m}
	require.NoError(t, h.model.Allocate(h.dev, true))
	require.NoError(t, h.model.Params.Initialise(h.dev, 7))
	h.in = h.model.NewInputs(2, 16, 2, 16)
	require.NoError(t, h.in.Allocate(h.dev))
	program, err := nn.Record("hearing", nn.Options{Params: h.model.Params, Train: true}, func(g *nn.Graph) {
		h.loss = h.model.Loss(g, h.in, nil)
		g.Keep(h.loss.Sum)
	})
	require.NoError(t, err)
	h.exe, err = h.dev.Compile(require.Value(h.model.Plan(program))(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { h.exe.Free(); h.in.Close(); h.model.Close() })
	h.upload(images)
	return h
}

func (h *hearing) upload(images bool) {
	text := func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(3 + 5*i%30)
		}
		return ids
	}
	first := &packing.Sample{IDs: text(14), LossMask: make([]bool, 14), Clips: []chat.Clip{{Start: 5, Tokens: 2}, {Start: 8, Tokens: 3}}}
	if images {
		first.Images = []int{1}
	}
	second := &packing.Sample{Row: 1, IDs: text(6), LossMask: make([]bool, 6), Clips: clipAt(0, 4)}
	b, err := packing.Build(packing.Shape{Rows: 2, T: 16, Patches: h.model.Config.Vision.Patches()},
		packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll}, [][]*packing.Sample{{first}, {second}})
	require.NoError(h.t, err)
	random := rand.New(rand.NewPCG(5, 5))
	for range 9 * 6 {
		b.Frames = append(b.Frames, float32(random.NormFloat64()))
	}
	var pixels []byte
	if images {
		for range 8 * 8 * 3 {
			pixels = append(pixels, byte(random.Uint32()))
		}
	}
	targets, err := h.in.Upload(h.dev, b, pixels, &h.step)
	require.NoError(h.t, err)
	h.step[SlotScale] = math.Float32bits(1 / float32(targets))
}

func (h *hearing) run() float64 {
	require.NoError(h.t, h.exe.Run(context.Background(), &h.step))
	var sum [1]float32
	require.NoError(h.t, engine.DownloadTemp(h.dev, h.exe, h.loss.Sum.View(), sum[:]))
	return float64(sum[0]) * float64(math.Float32frombits(h.step[SlotScale]))
}

// TestHearingGradients: the gradients of the embedders, with sound alone and beside images, are those
// of central differences of the loss.
func TestHearingGradients(t *testing.T) {
	for name, images := range map[string]bool{"sound": false, "images and sound": true} {
		t.Run(name, func(t *testing.T) {
			h := newHearing(t, images)
			h.run()
			h.compareGradients(func(p *nn.Param) bool { return p.Group == GroupEmbedder })
		})
	}
}

// compareGradients compares gradients of parameters with central differences of the loss.
func (h *hearing) compareGradients(of func(p *nn.Param) bool) {
	t := h.t
	t.Helper()
	for _, p := range h.model.Params.All() {
		if !of(p) {
			continue
		}
		h.run() // with all weights as they were
		got := require.Value(h.model.Params.Read(h.dev, h.model.Params.Grads, p))(t)
		weights := require.Value(h.model.Params.Read(h.dev, h.model.Params.Weights, p))(t)
		largest := 0.0
		for i := 0; i < len(weights); i += 1 + len(weights)/7 {
			difference := func(d float32) float64 {
				changed := slices.Clone(weights)
				changed[i] += d
				require.NoError(t, h.model.Params.Write(h.dev, p, changed))
				return h.run()
			}
			const d = 3e-3
			want := (difference(d) - difference(-d)) / (2 * d)
			require.NoError(t, h.model.Params.Write(h.dev, p, weights))
			largest = max(largest, math.Abs(want))
			// Losses of size 4 in float32, over 2d: a few 1e-4; and the curvature.
			if math.Abs(float64(got[i])-want) > 3e-4+0.02*math.Abs(want) {
				t.Errorf("%s[%d]: gradient %g, by differences %g", p.Name, i, got[i], want)
			}
		}
		// Adding to all keys of a query changes no share of its attention.
		if largest < 1e-4 && p.Name != "embedder.x_pos_emb" && !strings.HasSuffix(p.Name, "k_proj.bias") {
			t.Errorf("%s: the loss does not depend on it", p.Name)
		}
	}
}

// TestBatchWithoutSound: after a batch with sound, one without gives the matrix of sound no gradient.
func TestBatchWithoutSound(t *testing.T) {
	for _, images := range []bool{false, true} {
		h := newHearing(t, images)
		h.run()
		gradient := func() (sum float64) {
			for _, v := range require.Value(h.model.Params.Read(h.dev, h.model.Params.Grads, h.model.audio.projection.Weight))(t) {
				sum += math.Abs(float64(v))
			}
			return sum
		}
		if gradient() == 0 {
			t.Error("a batch with sound gives its matrix no gradient")
		}
		b, err := packing.Build(packing.Shape{Rows: 2, T: 16, Patches: h.model.Config.Vision.Patches()}, packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll},
			[][]*packing.Sample{{{IDs: []int32{3, 4, 5, 6}, LossMask: make([]bool, 4)}}})
		require.NoError(t, err)
		_, err = h.in.Upload(h.dev, b, nil, &h.step)
		require.NoError(t, err)
		h.run()
		if sum := gradient(); sum != 0 {
			t.Errorf("with images: %v: a batch without sound gives its matrix a gradient of %g", images, sum)
		}
	}
}

// TestUploadFrames: samples that do not fit the batch's frames are refused.
func TestUploadFrames(t *testing.T) {
	h := newHearing(t, false)
	b, err := packing.Build(packing.Shape{Rows: 1, T: 16}, packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: make([]int32, 4), LossMask: make([]bool, 4), Clips: clipAt(1, 2)}}})
	require.NoError(t, err)
	b.Frames = make([]float32, 11)
	if _, err := h.in.Upload(h.dev, b, nil, &h.step); err == nil || !strings.Contains(err.Error(), "11 samples for 2 frames") {
		t.Errorf("%v", err)
	}
}
