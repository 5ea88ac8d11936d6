package generate

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// observedPrompt is a prompt with a known answer.
type observedPrompt struct {
	prompt chat.Tokens
	images [][]byte
	answer []int32
}

// observedPrompts are conversations with an image, with two and a prompt of several pages, and with answers
// of one token and of several passes.
func observedPrompts(t *testing.T, r *vlm.Runner) (all []observedPrompt) {
	t.Helper()
	for _, c := range []struct {
		question, answer string
		images           [][]byte
	}{
		{"what color is the shape?", "a red circle", [][]byte{vlmtest.Pixels(t, 0)}},
		{strings.Repeat("is there a red shape? ", 9), strings.Repeat("there is not a green shape. ", 20), [][]byte{vlmtest.Pixels(t, 0), vlmtest.Pixels(t, 1)}},
		{"is there a red shape?", "a", [][]byte{vlmtest.Pixels(t, 1)}},
	} {
		prompt, err := r.Processor.Messages([]chat.Message{{Role: "user", Content: c.question, Images: len(c.images)}}, chat.Options{AddGenerationPrompt: true})
		require.NoError(t, err)
		all = append(all, observedPrompt{prompt, c.images, vlmtest.PlainIDs(r.Processor.Tokenizer, c.answer)})
	}
	return all
}

// wantAttention is the attention by one pass over prompt and answer, as in Explain.
func wantAttention(t *testing.T, r *vlm.Runner, p observedPrompt) (maps []AttentionMap) {
	t.Helper()
	var queries []int32
	for i := range p.answer {
		queries = append(queries, int32(len(p.prompt.IDs)+i-1))
	}
	layers, err := attentionShares(t.Context(), r, p.prompt, p.images, p.answer, queries)
	require.NoError(t, err)
	for i := range queries {
		var shares [][]float32
		for _, layer := range layers {
			shares = append(shares, layer[i])
		}
		maps = append(maps, meanOfShares(shares))
	}
	return maps
}

// compareAttention compares the attention of a sequence.
func compareAttention(t *testing.T, s *Sequence, want []AttentionMap, tolerance float64) {
	t.Helper()
	got := s.Attention()
	if s.Err != nil || !s.Done || len(got) != len(want) {
		t.Fatalf("%d maps, %v; want %d", len(got), s.Err, len(want))
	}
	for i, w := range want {
		all, reference := append(slices.Clone(got[i].Patches), got[i].Prompt, got[i].Answer), append(slices.Clone(w.Patches), w.Prompt, w.Answer)
		if len(all) != len(reference) {
			t.Fatalf("token %d has %d values, want %d", i, len(all), len(reference))
		}
		sum := 0.0
		for j, v := range all {
			if sum += v; !(math.Abs(v-reference[j]) <= tolerance) {
				t.Fatalf("token %d: value %d of %d is %g, want %g", i, j, len(all), v, reference[j])
			}
		}
		if !(math.Abs(sum-1) <= 1e-5) {
			t.Errorf("token %d: the attention sums to %g", i, sum)
		}
	}
}

// observe runs all prompts of a batch at once, beside an answer that is generated.
func observe(t *testing.T, r *vlm.Runner, prompts []observedPrompt) (all []*Sequence) {
	t.Helper()
	b := newBatch(t, r, len(prompts)+1)
	first := prompts[0]
	beside, err := b.Start(first.prompt, first.images, Options{MaxNewTokens: 40})
	require.NoError(t, err)
	for _, p := range prompts {
		s, err := b.Observe(p.prompt, p.images, p.answer, Options{})
		require.NoError(t, err)
		all = append(all, s)
	}
	finish(t, b)
	if want := alone(t, r, []batchPrompt{{first.prompt, first.images}}, Options{MaxNewTokens: 40})[0]; beside.Err != nil || !slices.Equal(beside.Result.IDs, want) {
		t.Errorf("the answer beside them: %v, %v; want %v", beside.Result.IDs, beside.Err, want)
	}
	if b.CacheUse() != 0 {
		t.Errorf("%g of the cache is in use by no sequence", b.CacheUse())
	}
	return all
}

// TestObserve: the attention of a known answer in a batch, whose tokens are partly in the cache, is that of
// one pass over all of it.
func TestObserve(t *testing.T) {
	for _, dev := range devices.Open(t) {
		for storage, tolerance := range map[shaders.Type]float64{
			// Sums in another order; and scores of about 1 after some thirty random roundings, averaged.
			shaders.F32: 1e-5, shaders.BF16: math.Sqrt(30) * 0x1p-8,
		} {
			for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage} {
				t.Run(dev.Info().Device+"/"+storage.String()+"/"+string(attention), func(t *testing.T) {
					r := vlmtest.ModelAs(t, dev, attention, storage)
					prompts := observedPrompts(t, r)
					for i, s := range observe(t, r, prompts) {
						compareAttention(t, s, wantAttention(t, r, prompts[i]), tolerance)
					}
				})
			}
		}
	}
}

// TestObserveCached: an answer that the batch has just generated is observed without reading its prompt again.
func TestObserveCached(t *testing.T) {
	r := vlmtest.Model(t, cpu.Open(0), packing.Document)
	p := observedPrompts(t, r)[1]
	b := newBatch(t, r, 2)
	answer, err := b.Start(p.prompt, p.images, Options{MaxNewTokens: 100})
	require.NoError(t, err)
	finish(t, b)
	p.answer = answer.Result.IDs
	s, err := b.Observe(p.prompt, p.images, p.answer, Options{})
	require.NoError(t, err)
	finish(t, b)
	compareAttention(t, s, wantAttention(t, r, p), 1e-5)
	if first := len(p.prompt.IDs) - 1; s.Result.CachedTokens != first/vlm.PageRows*vlm.PageRows || s.Result.CachedTokens == 0 {
		t.Errorf("%d tokens were in the cache of the %d before the first query", s.Result.CachedTokens, first)
	}
}

// TestObserveGemma: pictures of other shapes, and layers with windows and fewer key heads.
func TestObserveGemma(t *testing.T) {
	r, p := gemmaWithPictures(t, devices.Open(t)[0])
	p.text(5)
	p.picture(3, 4)
	p.text(70)
	p.picture(5, 2)
	p.picture(1, 7)
	p.text(3)
	answer := picturePrompt{config: p.config, random: p.random}
	answer.text(9)
	r.Processor = &vlm.Processor{}
	prompt := observedPrompt{p.Tokens, p.pixels, answer.IDs}
	compareAttention(t, observe(t, r, []observedPrompt{prompt})[0], wantAttention(t, r, prompt), 1e-5)
}

// TestObserveErrors: what cannot be computed is an error before it is begun; one that is cancelled frees its place.
func TestObserveErrors(t *testing.T) {
	r := vlmtest.Model(t, cpu.Open(0), packing.Document)
	p := observedPrompts(t, r)[1]
	b := newBatch(t, r, 1)
	for name, c := range map[string]observedPrompt{
		"no image": {prompt: p.prompt, answer: p.answer}, "no answer": {prompt: p.prompt, images: p.images}, "another number of images": {p.prompt, p.images[:1], p.answer},
	} {
		if _, err := b.Observe(c.prompt, c.images, c.answer, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var full *ContextError
	if _, err := b.Observe(p.prompt, p.images, make([]int32, 500), Options{}); !errors.As(err, &full) {
		t.Errorf("an answer as long as the context: %v", err)
	}
	s, err := b.Observe(p.prompt, p.images, p.answer, Options{})
	require.NoError(t, err)
	for len(s.observed.maps) == 0 {
		require.NoError(t, b.Step(t.Context()))
	}
	if _, err := b.Observe(p.prompt, p.images, p.answer, Options{}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a second of one sequence: %v", err)
	}
	gone := errors.New("the client left")
	b.Cancel(s, gone)
	if s.Err != gone || b.CacheUse() != 0 || s.observed.pass != nil {
		t.Errorf("cancelled: %v, %g of the cache in use, %v", s.Err, b.CacheUse(), s.observed.pass)
	}
	b.Config.Text.NumKeyValueHeads *= 1 << 14
	var large *ProbeError
	if _, err := b.Observe(p.prompt, p.images, p.answer, Options{}); !errors.As(err, &large) {
		t.Errorf("groups of keys without end: %v", err)
	}
}
