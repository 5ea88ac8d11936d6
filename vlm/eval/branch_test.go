package eval

import (
	"context"
	"math"
	"testing"

	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestSharedPrefix: a question in a shared-prefix sample has the same logits as alone.
func TestSharedPrefix(t *testing.T) {
	img, err := image.Decode(vlmtest.Image(t, vlmtest.Colors[1].RGB, 10, 12, 25))
	require.NoError(t, err)
	pixels := image.Preprocess(img, 64)
	turns := []chat.Turn{{User: "what color is the shape?", Assistant: "green"}, {User: "is there a red shape?", Assistant: "no"},
		{User: "what is the green shape?", Assistant: "rectangle"}, {User: "is there not a circle?", Assistant: "yes"}}
	for _, dev := range devices.Open(t) {
		for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage} {
			t.Run(dev.Info().Device+"/"+string(attention), func(t *testing.T) {
				l := vlmtest.Model(t, dev, attention)
				sampler := packing.Sampler{Encoder: l.Processor.Encoder, RowLen: 256, Turns: packing.SharedPrefix}
				samples, _, err := sampler.Samples(0, chat.Conversation{Turns: turns, Images: 1})
				require.NoError(t, err)
				s := samples[0]
				together := vlmtest.Logits(t, l, s, packing.SharedPrefix, pixels)
				v := l.Config.Text.VocabSize
				for i, turn := range turns {
					one, err := l.Processor.Conversation(chat.Conversation{Turns: []chat.Turn{turn}, Images: 1})
					require.NoError(t, err)
					alone := vlmtest.Logits(t, l, &packing.Sample{IDs: one.IDs, LossMask: one.LossMask, Images: one.Images}, packing.InConversation, pixels)
					prefix := s.TurnStarts[0]
					compareLogits(t, turn.User, together[s.TurnStarts[i]*v:][:(len(one.IDs)-prefix)*v], alone[prefix*v:])
				}
			})
		}
	}
}

// compareLogits allows the rounding of sums over other tiles.
func compareLogits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d logits, want %d", what, len(got), len(want))
	}
	worst := 0.0
	for i := range want {
		worst = math.Max(worst, math.Abs(float64(got[i]-want[i])))
	}
	if worst > 1e-4 || math.IsNaN(worst) {
		t.Errorf("%s: logits differ by %g", what, worst)
	}
}

// TestGenerateMatchesForward: decoding token by token with the key/value cache matches a forward
// pass over the whole text.
func TestGenerateMatchesForward(t *testing.T) {
	img, err := image.Decode(vlmtest.Image(t, vlmtest.Colors[2].RGB, 5, 9, 30))
	require.NoError(t, err)
	pixels := image.Preprocess(img, 64)
	for _, dev := range devices.Open(t) {
		for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage, packing.Causal} {
			t.Run(dev.Info().Device+"/"+string(attention), func(t *testing.T) {
				l := vlmtest.Model(t, dev, attention)
				prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1}, nil)
				require.NoError(t, err)
				g := generate.New(l)
				defer g.Close()
				got, err := g.Generate(context.Background(), prompt, [][]byte{pixels}, generate.Options{MaxNewTokens: 6})
				require.NoError(t, err)
				ids, v := prompt.IDs, l.Config.Text.VocabSize
				for i, id := range got.IDs {
					s := &packing.Sample{IDs: ids, LossMask: make([]bool, len(ids)), Images: prompt.Images}
					all := vlmtest.Logits(t, l, s, packing.InConversation, pixels)
					last, best := all[(len(ids)-1)*v:], 0
					for j, x := range last {
						if x > last[best] {
							best = j
						}
					}
					// Equal, or a tie within rounding.
					if int32(best) != id && last[best]-last[id] > 1e-4 {
						t.Fatalf("token %d is %d with the cache, %d without (logits %g and %g)", i, id, best, last[id], last[best])
					}
					ids = append(ids, id)
				}
			})
		}
	}
}

// TestEvaluateMatchesGeneration: exact match equals that of generating every answer.
func TestEvaluateMatchesGeneration(t *testing.T) {
	file := vlmtest.Data(t, 12)
	for _, dev := range devices.Open(t) {
		l := vlmtest.Model(t, dev, packing.DocumentBidirectionalImage)
		g := generate.New(l)
		defer g.Close()
		img := map[int][]byte{}
		turns := 0
		_, err := Run(context.Background(), l, Options{Data: data.Local(file), Answer: func(a TurnResult) {
			turns++
			if img[a.Row] == nil {
				decoded, err := image.Decode(vlmtest.Image(t, vlmtest.Colors[a.Row%3].RGB, 4+a.Row%17, 3+a.Row%13, 20+a.Row%11))
				require.NoError(t, err)
				img[a.Row] = image.Preprocess(decoded, 64)
			}
			prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: a.Question}}, Images: 1}, nil)
			require.NoError(t, err)
			got, err := g.Generate(context.Background(), prompt, [][]byte{img[a.Row]}, generate.Options{MaxNewTokens: 20})
			require.NoError(t, err)
			match := got.Finish == "stop" && l.Processor.Tokenizer.Decode(got.IDs, true) == a.Truth
			if match != a.Match {
				t.Errorf("row %d %q: match %v, generated %q for %q", a.Row, a.Question, a.Match, l.Processor.Tokenizer.Decode(got.IDs, true), a.Truth)
			}
		}})
		require.NoError(t, err)
		if turns != 36 {
			t.Errorf("%d turns, want 36", turns)
		}
	}
}
