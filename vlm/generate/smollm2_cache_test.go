package generate

import (
	"math"
	"os"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/pretrained"
)

// TestSmolLM2Cache: with keys and values in 8 bits SmolLM2 gives the greedy text of 32 bits nearly
// the same likelihood.
func TestSmolLM2Cache(t *testing.T) {
	path := os.Getenv("PATCHWORK_SMOLLM2_GGUF")
	if path == "" {
		t.Skip("PATCHWORK_SMOLLM2_GGUF is not set; it names a GGUF file of SmolLM2-135M-Instruct")
	}
	load := func(cache vlm.CacheType) *Generator {
		l, err := pretrained.LoadWith(path, cpu.Open(0), pretrained.LoadOptions{Weights: pretrained.WeightsAuto, Cache: cache})
		require.NoError(t, err)
		t.Cleanup(l.Close)
		g := New(l)
		t.Cleanup(g.Close)
		return g
	}
	full, small := load("f32"), load(vlm.CacheQ8)
	prompt, err := full.Processor.Messages([]chat.Message{{Role: "user", Content: "Explain how rain forms, step by step."}}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	want, err := full.Generate(t.Context(), prompt, nil, Options{MaxNewTokens: 40})
	require.NoError(t, err)
	got, err := small.Generate(t.Context(), prompt, nil, Options{MaxNewTokens: 40})
	require.NoError(t, err)
	same := 0
	for same < min(len(got.IDs), len(want.IDs)) && got.IDs[same] == want.IDs[same] {
		same++
	}
	nll, nllSmall := meanNLL(t, full, prompt, want.IDs), meanNLL(t, small, prompt, want.IDs)
	t.Logf("%d of %d greedy tokens are the same; their NLL is %.4f in f32, %.4f in q8_0", same, len(want.IDs), nll, nllSmall)
	if math.Abs(nllSmall-nll) > 0.02 {
		t.Errorf("the NLL is %.4f in q8_0, %.4f in f32: more than 0.02 apart", nllSmall, nll)
	}
}

// meanNLL is that of tokens after a prompt, decoded one by one.
func meanNLL(t *testing.T, g *Generator, prompt chat.Tokens, ids []int32) float64 {
	t.Helper()
	g.Forget()
	logits, _ := lastLogits(t, g, prompt, nil)
	var sum float64
	for i, id := range ids {
		largest, total := float64(slices.Max(logits)), 0.0
		for _, v := range logits {
			total += math.Exp(float64(v) - largest)
		}
		sum += largest + math.Log(total) - float64(logits[id])
		if i+1 < len(ids) {
			p, err := g.decode(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits))
		}
	}
	return sum / float64(len(ids))
}
