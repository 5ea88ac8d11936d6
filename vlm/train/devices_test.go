package train

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/eval"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestDevicesAgree trains 20 steps on the CPU and on every other device. Losses are within 1e-3 of
// each other, and both models give the same answer.
func TestDevicesAgree(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 20)
	reference := filepath.Join(t.TempDir(), "cpu")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	want := losses(t, reference)
	answer := testAnswer(t, cpu.Open(0), reference)
	for _, dev := range devices.Open(t) {
		name := dev.Info().Device
		if name == "cpu" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			out, again := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "again")
			_, err := trainOn(t, dev, r, files, out, false, Observer{})
			require.NoError(t, err)
			got := losses(t, out)
			for i := range want {
				if d := math.Abs(got[i] - want[i]); !(d <= 1e-3*math.Max(1, want[i])) {
					t.Errorf("step %d: loss %v, on the CPU %v", i+1, got[i], want[i])
				}
			}
			_, err = trainOn(t, dev, r, files, again, false, Observer{})
			require.NoError(t, err)
			same(t, "two runs on "+name, got, losses(t, again))
			narrow := devices.NewNarrow(dev, 4096) // less than a large matrix
			for _, dev := range []engine.Device{dev, narrow} {
				if text := testAnswer(t, dev, reference); text != answer {
					t.Errorf("the answer is %q, on the CPU %q", text, answer)
				}
			}
			if narrow.Divided["embed"] == 0 || narrow.Divided["matmul"] == 0 {
				t.Errorf("embeddings or matmuls were not split: %v", narrow.Divided)
			}
		})
	}
}

// testAnswer asks a model in a folder about a red square.
func testAnswer(t testing.TB, dev engine.Device, dir string) string {
	t.Helper()
	return testAnswerIn(t, dev, dir, shaders.F32)
}

func testAnswerIn(t testing.TB, dev engine.Device, dir string, storage shaders.Type) string {
	t.Helper()
	l, err := pretrained.LoadAs(dir, dev, storage)
	require.NoError(t, err)
	g := generate.New(l)
	defer g.Close()
	img, err := image.Decode(vlmtest.Image(t, vlmtest.Colors[0].RGB, 10, 10, 30))
	require.NoError(t, err)
	prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1}, nil)
	require.NoError(t, err)
	got, err := g.Generate(context.Background(), prompt, [][]byte{image.Preprocess(img, 64)}, generate.Options{MaxNewTokens: 8})
	require.NoError(t, err)
	return l.Processor.Tokenizer.Decode(got.IDs, true)
}

// TestDispatchesOfALayer pins the number of dispatches of a decoder layer, since each costs some
// microseconds on a fast GPU.
func TestDispatchesOfALayer(t *testing.T) {
	for _, c := range []struct {
		preset, dtype   string
		training, token int
	}{
		{"shapes", "f32", 22, 6},
		{"smollm2-135m", "f32", 22, 6},
		{"smollm2-135m", "bf16", 22, 6},
		{"qwen3-1.7b", "f32", 25, 6},
		{"qwen3-1.7b", "bf16", 25, 6},
	} {
		t.Run(c.preset+" "+c.dtype, func(t *testing.T) {
			if n := layerDispatches(t, c.preset, c.dtype, trainingStep); n != c.training {
				t.Errorf("a training step takes %d dispatches per layer, want %d", n, c.training)
			}
			if n := layerDispatches(t, c.preset, c.dtype, decodedToken); n != c.token {
				t.Errorf("a decoded token takes %d dispatches per layer, want %d", n, c.token)
			}
		})
	}
}

// TestDispatchesOfAnUpdate: the norm and AdamW process each of the four parameter ranges, with and
// without weight decay of the embedder and the decoder, once.
func TestDispatchesOfAnUpdate(t *testing.T) {
	for _, preset := range []string{"shapes", "smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(preset)
		require.NoError(t, err)
		m, err := vlm.NewModel(r.plannedConfig(*r.Text), r.Init)
		require.NoError(t, err)
		plan, _, err := planUpdate(m, nn.AdamW{}, nil)
		require.NoError(t, err)
		if n, want := len(plan.Dispatches), 4+4+2; n != want { // 2: a fill and the clip factor
			t.Errorf("%s: an update takes %d dispatches, want %d", preset, n, want)
		}
	}
}

// TestDispatchesOfAToken: besides the layers, a token takes an embedding lookup, a matmul of the
// final norm and the head, and an argmax.
func TestDispatchesOfAToken(t *testing.T) {
	for _, preset := range []string{"shapes", "smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(preset)
		require.NoError(t, err)
		text := *r.Text
		text.NumHiddenLayers = 2
		m, err := vlm.NewModel(r.plannedConfig(text), r.Init)
		require.NoError(t, err)
		if n := decodedToken(t, m, 0); n != 3+2*6 {
			t.Errorf("%s: a token takes %d dispatches, want %d", preset, n, 3+2*6)
		}
	}
}

// layerDispatches returns the number of dispatches that a decoder layer adds to a plan.
func layerDispatches(t *testing.T, preset, dtype string, plan func(t *testing.T, m *vlm.Model, tokens int) int) int {
	t.Helper()
	r, err := Preset(preset)
	require.NoError(t, err)
	storage, _ := shaders.ParseType(dtype)
	var counts [2]int
	for i := range counts {
		text := *r.Text
		text.NumHiddenLayers = 2 + i
		m, err := vlm.NewModel(r.plannedConfig(text), r.Init)
		require.NoError(t, err)
		m.Store(storage)
		counts[i] = plan(t, m, r.SeqLen)
	}
	return counts[1] - counts[0]
}

func trainingStep(t *testing.T, m *vlm.Model, tokens int) int {
	plan, _, err := planStep(m, m.NewInputs(1, tokens, 1, tokens), nn.Options{Train: true})
	require.NoError(t, err)
	return len(plan.Dispatches)
}

func decodedToken(t *testing.T, m *vlm.Model, _ int) int {
	dispatches, _, err := generate.RecordWork(m, "decode")
	require.NoError(t, err)
	return len(dispatches)
}

// TestLoadAs: a model loaded in 16 bits takes half the memory for its matrices, computes nearly
// the same as in 32, and is deterministic.
func TestLoadAs(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 40)
	dir := filepath.Join(t.TempDir(), "model")
	_, err := trainOn(t, cpu.Open(0), r, files, dir, false, Observer{})
	require.NoError(t, err)
	ids := []int32{1, 5, 9, 3, 7, 2, 8, 4, 6, 11, 10}
	score := func(l *vlm.Runner) []float32 {
		nll, logits, err := eval.Score(context.Background(), l, ids)
		require.NoError(t, err)
		return append(nll, logits...)
	}
	reference, err := pretrained.Load(dir, cpu.Open(0))
	require.NoError(t, err)
	want := score(reference)
	for _, dev := range devices.Open(t) {
		for storage, unit := range map[shaders.Type]float64{shaders.BF16: 0x1p-8, shaders.F16: 0x1p-11} {
			t.Run(dev.Info().Device+"/"+storage.String(), func(t *testing.T) {
				l, err := pretrained.LoadAs(dir, dev, storage)
				require.NoError(t, err)
				var matrices, rest int64
				for _, p := range l.Params.All() {
					if p.MatmulWeight {
						matrices += p.Bytes()
					} else {
						rest += p.Bytes()
					}
				}
				if used := l.Params.Weights.Bytes + l.Params.Half.Bytes; used > rest+matrices/2+int64(1024*len(l.Params.All())) {
					t.Errorf("the weights take %d bytes: %d of matrices, %d of others in f32", used, matrices, rest)
				}
				got := score(l)
				for i, w := range want {
					// Values of about 10 after some thirty random roundings.
					if d := math.Abs(float64(got[i] - w)); !(d <= 10*2*math.Sqrt(30)*unit) {
						t.Errorf("value %d is %g, in f32 %g", i, got[i], w)
					}
				}
				for i, again := range score(l) {
					if again != got[i] {
						t.Fatalf("value %d is %g and then %g", i, got[i], again)
					}
				}
				if testAnswerIn(t, dev, dir, storage) == "" {
					t.Error("no answer")
				}
			})
		}
	}
}
