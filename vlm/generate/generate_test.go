package generate

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// smallPasses makes prefill use small chunks.
func smallPasses(t *testing.T) {
	before := passSizes
	passSizes = []int{1, 4, 24}
	t.Cleanup(func() { passSizes = before })
}

// lastLogits prefills a prompt and returns the last logits and the number of cached tokens.
func lastLogits(t testing.TB, g *Generator, prompt chat.Tokens, images [][]byte) (logits []float32, cached int) {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, g.reserveCache(ctx, len(prompt.IDs)))
	p, cached, err := g.prefill(ctx, newSequence(prompt, images, nil))
	require.NoError(t, err)
	logits = make([]float32, p.logits.Size())
	require.NoError(t, engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits))
	return logits, cached
}

func closeTo(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		// Sums of some 100 terms of about 1 in another order.
		if math.Abs(float64(got[i]-want[i])) > 1e-4 {
			t.Fatalf("%s: logit %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// TestPrefill: prefill in chunks gives the logits of a single forward pass. A continued
// conversation reuses the cache, with images in earlier and later turns; a changed image or word
// is detected.
func TestPrefill(t *testing.T) {
	smallPasses(t)
	for _, dev := range devices.Open(t) {
		for name, config := range prefillConfigs(t) {
			t.Run(dev.Info().Device+"/"+name, func(t *testing.T) {
				l := vlmtest.ModelWithConfig(t, dev, config, shaders.F32)
				defer l.Close()
				g := New(l)
				defer g.Close()
				a, b := vlmtest.Pixels(t, 0), vlmtest.Pixels(t, 1)
				patches := l.Config.Vision.Patches()
				message := func(role, text string, images int) chat.Message {
					return chat.Message{Role: role, Content: text, Images: images}
				}
				first := []chat.Message{message("user", "what color is the shape?", 1)}
				second := append(slices.Clone(first), message("assistant", "red", 0), message("user", "is there a blue shape?", 1))
				third := append(slices.Clone(second), message("assistant", "no", 0), message("user", "why?", 0))
				var lengths []int
				for i, c := range []struct {
					messages []chat.Message
					images   [][]byte
					cached   func() (atLeast, atMost int)
				}{
					{first, [][]byte{a}, func() (int, int) { return 0, 0 }},
					{second, [][]byte{a, b}, func() (int, int) { return patches + 2, lengths[0] }},
					{third, [][]byte{a, b}, func() (int, int) { return lengths[0] + patches, lengths[1] }},
					{third, [][]byte{a, b}, func() (int, int) { return lengths[2] - 1, lengths[2] - 1 }},
					{third, [][]byte{a, a}, func() (int, int) { return lengths[0], lengths[1] - patches }},
					{third, [][]byte{b, a}, func() (int, int) { return 0, 4 }},
					{first, [][]byte{b}, func() (int, int) { return patches, lengths[0] }},
				} {
					prompt, err := l.Processor.Messages(c.messages, chat.Options{AddGenerationPrompt: true})
					require.NoError(t, err)
					got, cached := lastLogits(t, g, prompt, c.images)
					s := &packing.Sample{IDs: prompt.IDs, LossMask: prompt.LossMask, Images: prompt.Images}
					all := vlmtest.Logits(t, l, s, packing.InConversation, slices.Concat(c.images...))
					closeTo(t, "logits", got, all[len(all)-len(got):])
					lengths = append(lengths, len(prompt.IDs))
					if atLeast, atMost := c.cached(); cached < atLeast || cached > atMost {
						t.Errorf("prompt %d: %d of %d tokens were cached, want %d to %d", i, cached, len(prompt.IDs), atLeast, atMost)
					}
				}
			})
		}
	}
}

// prefillConfigs are models of every attention mode and embedder, and with image experts.
func prefillConfigs(t *testing.T) map[string]vlmtest.ModelConfig {
	configs := map[string]vlmtest.ModelConfig{}
	for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage, packing.Causal} {
		configs[string(attention)] = vlmtest.Config(t, attention)
	}
	for _, name := range vlm.EmbedderNames[1:] {
		c := vlmtest.Config(t, packing.Document)
		c.Vision.SetEmbedder(name)
		configs[name] = c
	}
	experts := vlmtest.Config(t, packing.DocumentBidirectionalImage)
	experts.ImageExperts = true
	configs["experts"] = experts
	qwen := experts.WithText(*vlmtest.Qwen3(experts.Text))
	configs["experts, qwen3"] = qwen
	return configs
}

// TestPrefillOfImageToken: a pass whose only token is a patch takes the experts.
func TestPrefillOfImageToken(t *testing.T) {
	smallPasses(t)
	c := vlmtest.Config(t, packing.Document)
	c.ImageExperts = true
	l := vlmtest.ModelWithConfig(t, cpu.Open(0), c, shaders.F32)
	defer l.Close()
	g := New(l)
	defer g.Close()
	prompt := chat.Tokens{IDs: slices.Repeat([]int32{int32(c.ImageTokenID)}, 1+l.Config.Vision.Patches()), Images: []int{1}}
	prompt.IDs[0], prompt.LossMask, prompt.Grids = 5, make([]bool, len(prompt.IDs)), []chat.Grid{l.Config.Vision.SquareGrid()}
	pixels := vlmtest.Pixels(t, 1)
	got, _ := lastLogits(t, g, prompt, [][]byte{pixels})
	all := vlmtest.Logits(t, l, &packing.Sample{IDs: prompt.IDs, LossMask: prompt.LossMask, Images: prompt.Images}, packing.InConversation, pixels)
	closeTo(t, "logits", got, all[len(all)-len(got):])
}

// TestPrefillOfDecoders: both kinds of decoders fill the cache correctly, whether the projections
// are fused or their weights are not contiguous.
func TestPrefillOfDecoders(t *testing.T) {
	smallPasses(t)
	llama := vlmtest.Config(t, packing.Document).Text
	unfused := func(c vlm.TextConfig) vlm.TextConfig {
		c.HiddenSize, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, c.IntermediateSize = 18, 3, 1, 6, 10
		return c
	}
	qwen := *vlmtest.Qwen3(llama)
	for _, dev := range devices.Open(t) {
		for _, c := range []struct {
			name string
			text vlm.TextConfig
			want string // a kernel of the pass
		}{
			{"llama", llama, "rope_split"}, {"llama, not fused", unfused(llama), "append_rows"},
			{"qwen3", qwen, "rope_split_norm"}, {"qwen3, not fused", unfused(qwen), "append_rows"},
		} {
			t.Run(dev.Info().Device+"/"+c.name, func(t *testing.T) {
				l := vlmtest.ModelWithConfig(t, dev, vlmtest.Config(t, packing.Document).WithText(c.text), shaders.F32)
				g := New(l)
				defer g.Close()
				prompt := chat.Tokens{IDs: vlmtest.PlainIDs(l.Processor.Tokenizer, "is there a red shape? is there not a green shape?")}
				prompt.LossMask = make([]bool, len(prompt.IDs))
				got, _ := lastLogits(t, g, prompt, nil)
				all := vlmtest.Logits(t, l, &packing.Sample{IDs: prompt.IDs, LossMask: prompt.LossMask}, packing.InConversation, nil)
				closeTo(t, "logits", got, all[len(all)-len(got):])
				_, plan, err := g.planPass(1, 0)
				require.NoError(t, err)
				if !slices.ContainsFunc(plan.Dispatches, func(d engine.Dispatch) bool { return d.Kernel.Name == c.want }) {
					t.Errorf("the pass has no %s", c.want)
				}
			})
		}
	}
}

// TestCacheGrows: a cache that grows keeps its contents.
func TestCacheGrows(t *testing.T) {
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			l := vlmtest.Model(t, dev, packing.Document)
			g := New(l)
			defer g.Close()
			prompt := chat.Tokens{}
			for i := range 3 * cacheStep / 2 {
				prompt.IDs = append(prompt.IDs, int32(3+i%200))
			}
			start := chat.Tokens{IDs: prompt.IDs[:100]}
			lastLogits(t, g, start, nil)
			before := g.cache.Capacity
			got, cached := lastLogits(t, g, prompt, nil)
			if cached != 100 || g.cache.Capacity <= before {
				t.Errorf("%d tokens were cached and the capacity grew from %d to %d, want 100 and growth", cached, before, g.cache.Capacity)
			}
			all := vlmtest.Logits(t, l, &packing.Sample{IDs: prompt.IDs, LossMask: make([]bool, len(prompt.IDs))}, packing.InConversation, nil)
			closeTo(t, "logits", got, all[len(all)-len(got):])
		})
	}
}

// TestGenerateStops: generation stops at end tokens, at MaxNewTokens, at the context and when
// cancelled, and returns the tokens so far.
func TestGenerateStops(t *testing.T) {
	l := vlmtest.Model(t, cpu.Open(0), packing.Document)
	g := New(l)
	defer g.Close()
	prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color?"}}}, nil)
	require.NoError(t, err)
	free, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: 12})
	require.NoError(t, err)
	if free.Finish != "length" || len(free.IDs) != 12 {
		t.Fatalf("%s after %d tokens, want length after 12", free.Finish, len(free.IDs))
	}
	fourth := free.IDs[3]
	cut := slices.Index(free.IDs, fourth)
	l.Processor.EOS = []int32{fourth}
	got, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: 12})
	require.NoError(t, err)
	if got.Finish != "stop" || !slices.Equal(got.IDs, free.IDs[:cut]) {
		t.Errorf("%s after %v, want stop after %v", got.Finish, got.IDs, free.IDs[:cut])
	}
	l.Processor.EOS = nil

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	count := 0
	got, err = g.Generate(ctx, prompt, nil, Options{MaxNewTokens: 12, Token: func(Token) bool {
		if count++; count == 5 {
			cancel()
		}
		return true
	}})
	if !errors.Is(err, context.Canceled) || !slices.Equal(got.IDs, free.IDs[:5]) {
		t.Errorf("%v after %v, want cancelled after %v", err, got.IDs, free.IDs[:5])
	}
	again, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: 12})
	require.NoError(t, err)
	if !slices.Equal(again.IDs, free.IDs) {
		t.Errorf("after a cancelled generation %v, want %v", again.IDs, free.IDs)
	}

	limit := l.Config.Text.MaxPositionEmbeddings
	long := chat.Tokens{IDs: slices.Repeat([]int32{5}, limit-3)}
	got, err = g.Generate(context.Background(), long, nil, Options{MaxNewTokens: 12})
	require.NoError(t, err)
	if len(got.IDs) > 3 {
		t.Errorf("%d tokens after a prompt that leaves 3", len(got.IDs))
	}
	long.IDs = append(long.IDs, 5, 5, 5)
	var full *ContextError
	if _, err = g.Generate(context.Background(), long, nil, Options{MaxNewTokens: 12}); !errors.As(err, &full) {
		t.Errorf("a prompt as long as the context: %v, want a ContextError", err)
	}
}
