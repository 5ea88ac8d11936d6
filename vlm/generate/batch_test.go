package generate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// batchPrompt is a prompt with its images.
type batchPrompt struct {
	tokens chat.Tokens
	images [][]byte
}

// batchPrompts are conversations of which some begin in the same way, for more than a page.
func batchPrompts(t *testing.T, r *vlm.Runner) (prompts []batchPrompt) {
	t.Helper()
	a, b := vlmtest.Pixels(t, 0), vlmtest.Pixels(t, 1)
	long := strings.Repeat("is there a red shape? is there not a green shape? ", 7)
	for _, c := range []struct {
		text   string
		images [][]byte
	}{
		{long + "what color is it?", [][]byte{a}},
		{long + "is there a blue shape?", [][]byte{a}},
		{"what color is the shape?", [][]byte{b}},
		{long + "what color is it?", [][]byte{b}},
		{long + long + "why?", [][]byte{a, b}},
		{"why?", nil},
	} {
		tokens, err := r.Processor.Messages([]chat.Message{{Role: "user", Content: c.text, Images: len(c.images)}}, chat.Options{AddGenerationPrompt: true})
		require.NoError(t, err)
		prompts = append(prompts, batchPrompt{tokens, c.images})
	}
	return prompts
}

// newBatch returns an empty batch.
func newBatch(t *testing.T, r *vlm.Runner, sequences int) *Batch {
	t.Helper()
	b, err := NewBatch(r, BatchOptions{Sequences: sequences, Context: 500})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// alone returns the answers of a Generator.
func alone(t *testing.T, r *vlm.Runner, prompts []batchPrompt, o Options) (answers [][]int32) {
	t.Helper()
	g := New(r)
	defer g.Close()
	for _, p := range prompts {
		got, err := g.Generate(t.Context(), p.tokens, p.images, o)
		require.NoError(t, err)
		answers = append(answers, got.IDs)
	}
	return answers
}

// finish runs a batch until all its sequences are done.
func finish(t *testing.T, b *Batch) {
	t.Helper()
	for b.Len() > 0 {
		require.NoError(t, b.Step(t.Context()))
	}
}

// TestBatch: sequences that join each other, share pages and leave have the answers that they have alone.
func TestBatch(t *testing.T) {
	for _, dev := range devices.Open(t) {
		for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage} {
			t.Run(dev.Info().Device+"/"+string(attention), func(t *testing.T) {
				r := vlmtest.Model(t, dev, attention)
				prompts := batchPrompts(t, r)
				o := Options{MaxNewTokens: 70}
				want := alone(t, r, prompts, o)
				b := newBatch(t, r, len(prompts))
				for round := range 2 {
					var all []*Sequence
					for i, p := range prompts {
						s, err := b.Start(p.tokens, p.images, o)
						require.NoError(t, err)
						all = append(all, s)
						for range i { // the next joins after some tokens
							require.NoError(t, b.Step(t.Context()))
						}
					}
					finish(t, b)
					for i, s := range all {
						if s.Err != nil || !slices.Equal(s.Result.IDs, want[i]) {
							t.Errorf("round %d, prompt %d: %v, %v, want %v", round, i, s.Result.IDs, s.Err, want[i])
						}
						tokens, shared := len(prompts[i].tokens.IDs), s.Result.CachedTokens
						if again := round > 0 || i == 1; again && tokens > 2*vlm.PageRows && shared < tokens-vlm.PageRows-25 || i == 0 && round == 0 && shared > 0 {
							t.Errorf("round %d, prompt %d: %d of %d tokens are shared", round, i, shared, tokens)
						}
					}
				}
				if b.CacheUse() != 0 {
					t.Errorf("%g of the cache is in use by no sequence", b.CacheUse())
				}
			})
		}
	}
}

// TestBatchPostpones: where the cache is too small for all sequences, some wait, are read again, and have
// the same answers.
func TestBatchPostpones(t *testing.T) {
	r := vlmtest.Model(t, devices.Open(t)[0], packing.Document)
	r.Processor.EOS = nil
	prompts := batchPrompts(t, r)
	o := Options{MaxNewTokens: 150, Sampling: Sampling{Temperature: 1, Seed: 3}}
	want := alone(t, r, prompts, o)
	b, err := NewBatch(r, BatchOptions{Sequences: len(prompts), Context: 500, CacheTokens: 1})
	require.NoError(t, err)
	defer b.Close()
	answers, postponed := make([]*Sequence, len(prompts)), 0
	for next := 0; next < len(prompts) || b.Len() > 0; {
		for next < len(prompts) {
			s, err := b.Start(prompts[next].tokens, prompts[next].images, o)
			if errors.Is(err, ErrNoRoom) {
				break
			}
			require.NoError(t, err)
			answers[next] = s
			next++
		}
		before := len(b.answers)
		require.NoError(t, b.Step(t.Context()))
		if len(b.answers) < before && slices.ContainsFunc(b.prompts, func(s *Sequence) bool { return len(s.Result.IDs) > 0 }) {
			postponed++
		}
	}
	for i, s := range answers {
		if s.Err != nil || !slices.Equal(s.Result.IDs, want[i]) {
			t.Errorf("prompt %d: %v, %v, want %v", i, s.Result.IDs, s.Err, want[i])
		}
	}
	if postponed == 0 || b.CacheUse() != 0 {
		t.Errorf("%d answers were postponed, %g of the cache is in use", postponed, b.CacheUse())
	}
}

// TestBatchSampling: seeds, log-probabilities and constraints are each sequence's own.
func TestBatchSampling(t *testing.T) {
	r := vlmtest.Model(t, devices.Open(t)[0], packing.Document)
	prompts := batchPrompts(t, r)
	r.Processor.EOS = nil
	options := []Options{
		{MaxNewTokens: 9, Sampling: Sampling{Temperature: 1, Seed: 1}}, {MaxNewTokens: 4}, {MaxNewTokens: 12, Sampling: Sampling{Temperature: 2, TopK: 9, Seed: 5}},
		{MaxNewTokens: 12, LogProbs: true}, {MaxNewTokens: 3, Constraint: &only{[]int32{9, 8, 7}}}, {MaxNewTokens: 0},
	}
	b := newBatch(t, r, len(prompts))
	var all []*Sequence
	for i, p := range prompts {
		s, err := b.Start(p.tokens, p.images, options[i])
		require.NoError(t, err)
		all = append(all, s)
	}
	finish(t, b)
	options[4].Constraint = &only{[]int32{9, 8, 7}}
	for i, s := range all {
		if want := alone(t, r, prompts[i:i+1], options[i])[0]; s.Err != nil || !slices.Equal(s.Result.IDs, want) {
			t.Errorf("prompt %d: %v, %v, want %v", i, s.Result.IDs, s.Err, want)
		}
	}
}

// TestBatchRoom: a sequence that does not fit waits, one that never fits is told so, and one that is
// cancelled makes room.
func TestBatchRoom(t *testing.T) {
	r := vlmtest.Model(t, devices.Open(t)[0], packing.Document)
	r.Processor.EOS = nil
	prompts := batchPrompts(t, r)
	b := newBatch(t, r, 2)
	start := func(i, tokens int) (*Sequence, error) {
		return b.Start(prompts[i].tokens, prompts[i].images, Options{MaxNewTokens: tokens})
	}
	var tooLong *ContextError
	if _, err := b.Start(chat.Tokens{IDs: make([]int32, 500)}, nil, Options{MaxNewTokens: 1}); !errors.As(err, &tooLong) {
		t.Errorf("a prompt as long as the context: %v", err)
	}
	first, err := start(0, 100)
	require.NoError(t, err)
	second, err := start(5, 10_000) // up to the context
	require.NoError(t, err)
	if _, err := start(2, 1); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a third sequence of two: %v", err)
	}
	require.NoError(t, b.Step(t.Context()))
	gone := errors.New("the client left")
	b.Cancel(first, gone)
	if first.Err != gone || !first.Done {
		t.Errorf("a cancelled sequence: %+v", first)
	}
	third, err := start(2, 1)
	require.NoError(t, err)
	finish(t, b)
	if third.Err != nil || len(third.Result.IDs) != 1 || second.Err != nil || len(second.ids) != 500 {
		t.Errorf("%v and %d tokens, %v and %d", third.Err, len(third.Result.IDs), second.Err, len(second.ids))
	}
}

// TestBatchGemma: layers with windows, values from keys and a soft cap answer as they do alone.
func TestBatchGemma(t *testing.T) {
	dev := devices.Open(t)[0]
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		r := &vlm.Runner{Model: gemmaModel(t, golden.Dir(t, family), dev), Processor: &vlm.Processor{}, Device: dev}
		random := rand.New(rand.NewPCG(1, 2))
		var prompts []batchPrompt
		for i, n := range []int{150, 150, 90, 7} {
			var ids []int32
			for range n {
				ids = append(ids, int32(3+random.IntN(300)))
			}
			if i == 1 {
				copy(ids[:100], prompts[0].tokens.IDs)
			}
			prompts = append(prompts, batchPrompt{tokens: chat.Tokens{IDs: ids}})
		}
		same(t, family, r, prompts, Options{MaxNewTokens: 50})
	}
}

// TestBatchSound: clips are those of their own sequence.
func TestBatchSound(t *testing.T) {
	r := vlmtest.HearingModel(t, devices.Open(t)[0])
	var prompts []batchPrompt
	var options []Options
	for i, hertz := range []float64{300, 300, 301} {
		tokens, clips := soundPrompt(t, New(r), "a <|audio|> b <|audio|> c", hertz, 3000, 640*50+640*(i%2))
		prompts, options = append(prompts, batchPrompt{tokens: tokens}), append(options, Options{MaxNewTokens: 20, Clips: clips})
	}
	same(t, "sound", r, prompts, options...)
}

// same compares answers in a batch with those alone.
func same(t *testing.T, what string, r *vlm.Runner, prompts []batchPrompt, options ...Options) {
	t.Helper()
	b := newBatch(t, r, len(prompts))
	var all []*Sequence
	for i, p := range prompts {
		s, err := b.Start(p.tokens, p.images, options[i%len(options)])
		require.NoError(t, err)
		all = append(all, s)
	}
	finish(t, b)
	for i, s := range all {
		if want := alone(t, r, prompts[i:i+1], options[i%len(options)])[0]; s.Err != nil || !slices.Equal(s.Result.IDs, want) {
			t.Errorf("%s, prompt %d: %v, %v, want %v", what, i, s.Result.IDs, s.Err, want)
		}
	}
}

// TestBatchExperts: a model whose image tokens have weights of their own answers as it does alone, also where
// their number in a piece is none or all, and its attention is that of one pass.
func TestBatchExperts(t *testing.T) {
	for _, dev := range devices.Open(t) {
		for _, name := range []string{"experts", "experts, qwen3"} {
			r := vlmtest.ModelWithConfig(t, dev, prefillConfigs(t)[name], shaders.F32)
			same(t, name, r, batchPrompts(t, r), Options{MaxNewTokens: 40})
			prompts := observedPrompts(t, r)
			for i, s := range observe(t, r, prompts) {
				compareAttention(t, s, wantAttention(t, r, prompts[i]), 1e-5)
			}
		}
	}
}

// TestBatchWholeCache: a prompt that fills the cache is read again, also where an image that has to be in one
// pass straddles the pages with the beginning that are still there.
func TestBatchWholeCache(t *testing.T) {
	r := vlmtest.Model(t, devices.Open(t)[0], packing.DocumentBidirectionalImage)
	content := strings.Repeat("is it red? ", 10)
	var tokens chat.Tokens
	for straddles := false; !straddles; content += "is it red? " {
		var err error
		tokens, err = r.Processor.Messages([]chat.Message{{Role: "user", Content: content}, {Role: "user", Content: "why?", Images: 1}}, chat.Options{AddGenerationPrompt: true})
		require.NoError(t, err)
		first := tokens.Images[0]
		straddles = first/vlm.PageRows < (first+r.Config.Vision.SquareGrid().Tokens()-1)/vlm.PageRows
	}
	b, err := NewBatch(r, BatchOptions{Sequences: 2, Context: len(tokens.IDs) + 1, CacheTokens: 1})
	require.NoError(t, err)
	defer b.Close()
	for range 2 {
		s, err := b.Start(tokens, [][]byte{vlmtest.Pixels(t, 0)}, Options{MaxNewTokens: 1})
		require.NoError(t, err)
		for range 10 {
			require.NoError(t, b.Step(t.Context()))
		}
		if !s.Done {
			t.Fatal("the prompt is not read")
		}
	}
}

// tight is a device that has no memory left when it is full.
type tight struct {
	engine.Device
	full bool
}

func (d *tight) Allocate(bytes int64, what string) (engine.Memory, error) {
	if d.full {
		return nil, fmt.Errorf("%s: %w", what, engine.ErrOutOfMemory)
	}
	return d.Device.Allocate(bytes, what)
}

// TestBatchOutOfMemory: a sequence for whose images there is no memory ends alone.
func TestBatchOutOfMemory(t *testing.T) {
	r := vlmtest.Model(t, devices.Open(t)[0], packing.Document)
	r.Processor.EOS = nil
	prompts, o := batchPrompts(t, r), Options{MaxNewTokens: 20}
	text, image := prompts[5], prompts[2]
	want := alone(t, r, []batchPrompt{text, image}, o)
	dev := &tight{Device: r.Device}
	tightly := *r
	tightly.Device = dev
	b := newBatch(t, &tightly, 3)
	start := func(p batchPrompt) *Sequence {
		s, err := b.Start(p.tokens, p.images, o)
		require.NoError(t, err)
		return s
	}
	first := start(text)
	require.NoError(t, b.Step(t.Context()))
	dev.full = true
	without := start(image)
	require.NoError(t, b.Step(t.Context()))
	if !errors.Is(without.Err, engine.ErrOutOfMemory) || first.Done {
		t.Errorf("%v without memory, and another is done: %v", without.Err, first.Done)
	}
	dev.full = false
	with := start(image)
	finish(t, b)
	for i, s := range []*Sequence{first, with} {
		if s.Err != nil || !slices.Equal(s.Result.IDs, want[i]) {
			t.Errorf("sequence %d: %v, %v, want %v", i, s.Result.IDs, s.Err, want[i])
		}
	}
	if b.CacheUse() != 0 {
		t.Errorf("%g of the cache is in use by no sequence", b.CacheUse())
	}
}
