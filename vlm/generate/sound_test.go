package generate

import (
	"context"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
)

// soundPrompt is a question about clips of tones of given lengths.
func soundPrompt(t *testing.T, g *Generator, text string, hertz float64, lengths ...int) (chat.Tokens, [][]float32) {
	t.Helper()
	m := chat.Message{Role: "user", Content: text}
	var clips [][]float32
	for i, n := range lengths {
		samples, _, err := audio.Decode(vlmtest.Tone(hertz*float64(i+1), n), 16_000)
		require.NoError(t, err)
		clips, m.Clips = append(clips, samples), append(m.Clips, g.Config.Audio.Tokens(n))
	}
	prompt, err := g.Processor.Messages([]chat.Message{m}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	return prompt, clips
}

// soundLogits prefills a prompt and returns the last logits and the number of cached tokens.
func soundLogits(t *testing.T, g *Generator, prompt chat.Tokens, clips [][]float32) ([]float32, int) {
	t.Helper()
	require.NoError(t, g.reserveCache(t.Context(), len(prompt.IDs)))
	p, cached, err := g.prefill(t.Context(), newSequence(prompt, nil, g.frames(clips)))
	require.NoError(t, err)
	logits := make([]float32, p.logits.Size())
	require.NoError(t, engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits))
	return logits, cached
}

// TestPrefillOfSound: prompts in chunks, with clips longer than a chunk and than the embedder's batch,
// give the logits of one pass; the cache keeps a clip that is the same, and not one that differs.
func TestPrefillOfSound(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	model := vlmtest.HearingModel(t, dev)
	whole := New(model)
	defer whole.Close()
	long := []int{3000, 640 * 50}
	prompt, clips := soundPrompt(t, whole, "a <|audio|> b <|audio|> c", 300, long...)
	want, _ := soundLogits(t, whole, prompt, clips)
	other, otherClips := soundPrompt(t, whole, "a <|audio|> b <|audio|> c", 301, long...)
	wantOther, _ := soundLogits(t, New(model), other, otherClips)

	smallPasses(t)
	g := New(model)
	defer g.Close()
	short, shortClips := soundPrompt(t, g, "x", 300, 700) // the vectors grow later
	soundLogits(t, g, short, shortClips)
	got, _ := soundLogits(t, g, prompt, clips)
	closeTo(t, "in chunks", got, want)
	got, cached := soundLogits(t, g, prompt, clips)
	closeTo(t, "again", got, want)
	if cached != len(prompt.IDs)-1 {
		t.Errorf("%d tokens are cached, want all but one of %d", cached, len(prompt.IDs))
	}
	got, cached = soundLogits(t, g, other, otherClips)
	closeTo(t, "other sound", got, wantOther)
	if start := other.Clips[0].Start; cached != start {
		t.Errorf("%d tokens are cached, want the %d before the sound that differs", cached, start)
	}
	// The second clip alone differs: what is cached ends before it.
	mixed := [][]float32{otherClips[0], clips[1]}
	_, cached = soundLogits(t, g, other, mixed)
	if start := other.Clips[1].Start; cached != start {
		t.Errorf("%d tokens are cached, want the %d before the second clip", cached, start)
	}
	closeTo(t, "from the start again", first(soundLogits(t, g, prompt, clips)), want)
}

func first(logits []float32, _ int) []float32 { return logits }

// TestGenerateRefusesSound: clips must be those of the prompt.
func TestGenerateRefusesSound(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	g := New(vlmtest.HearingModel(t, dev))
	defer g.Close()
	prompt, clips := soundPrompt(t, g, "x", 300, 2000)
	for want, o := range map[string]Options{
		"0 clips of sound given, the prompt has 1":      {MaxNewTokens: 1},
		"clip 1 has 13 frames, the prompt has 6 for it": {MaxNewTokens: 1, Clips: [][]float32{make([]float32, 4400)}},
	} {
		if _, err := g.Generate(context.Background(), prompt, nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if r, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: 2, Clips: clips}); err != nil || len(r.IDs) == 0 && r.Finish != "stop" {
		t.Errorf("%+v, %v", r, err)
	}
}
