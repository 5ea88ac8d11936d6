package train

import (
	"testing"

	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/generate"
)

// A fast GPU waits some microseconds for every dispatch, so that their number is
// held: the figures are those of one more decoder layer.
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
				t.Errorf("a training step takes %d dispatches a layer, want %d", n, c.training)
			}
			if n := layerDispatches(t, c.preset, c.dtype, decodedToken); n != c.token {
				t.Errorf("a decoded token takes %d dispatches a layer, want %d", n, c.token)
			}
		})
	}
}

// TestDispatchesOfAnUpdate: the norm and AdamW see each of the four ranges of
// parameters, decayed ones and others of the embedder and the decoder, once.
func TestDispatchesOfAnUpdate(t *testing.T) {
	for _, preset := range []string{"shapes", "smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(preset)
		require.NoError(t, err)
		m, err := vlm.NewModel(r.config(*r.Text, r.Text.VocabSize-1), r.Init)
		require.NoError(t, err)
		plan, _, err := planUpdate(m, nn.AdamW{})
		require.NoError(t, err)
		if n, want := len(plan.Dispatches), 4+4+2; n != want { // and a fill and the clip factor
			t.Errorf("%s: an update takes %d dispatches, want %d", preset, n, want)
		}
	}
}

// TestDispatchesOfAToken: beside its layers, a token is looked up, multiplied with the
// head together with the final norm, and the largest logit found.
func TestDispatchesOfAToken(t *testing.T) {
	for _, preset := range []string{"shapes", "smollm2-135m", "qwen3-1.7b"} {
		r, err := Preset(preset)
		require.NoError(t, err)
		text := *r.Text
		text.NumHiddenLayers = 2
		m, err := vlm.NewModel(r.config(text, text.VocabSize-1), r.Init)
		require.NoError(t, err)
		if n := decodedToken(t, m, 0); n != 3+2*6 {
			t.Errorf("%s: a token takes %d dispatches, want %d", preset, n, 3+2*6)
		}
	}
}

// layerDispatches is by how many a plan is longer where the decoder has one layer more.
func layerDispatches(t *testing.T, preset, dtype string, plan func(t *testing.T, m *vlm.Model, tokens int) int) int {
	t.Helper()
	r, err := Preset(preset)
	require.NoError(t, err)
	storage, _ := shaders.ParseType(dtype)
	var counts [2]int
	for i := range counts {
		text := *r.Text
		text.NumHiddenLayers = 2 + i
		m, err := vlm.NewModel(r.config(text, text.VocabSize-1), r.Init)
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
