package generate

import (
	"context"
	"errors"
	"math"
	"slices"
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

// explainTest explains an answer of a model with random weights about an image of a red square.
func explainTest(t testing.TB, l *vlm.Runner, answer string, maxWords int) Explanation {
	t.Helper()
	prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1}, nil)
	require.NoError(t, err)
	e, err := Explain(context.Background(), l, prompt, [][]byte{vlmtest.Pixels(t, 0)}, vlmtest.PlainIDs(l.Processor.Tokenizer, answer), maxWords)
	require.NoError(t, err)
	return e
}

// TestExplain: the attention of a word sums to 1 in each layer and in the mean, in every attention
// mode; devices and dtypes agree within rounding.
func TestExplain(t *testing.T) {
	for _, attention := range []packing.Attention{packing.Document, packing.DocumentBidirectionalImage, packing.Causal} {
		want := explainTest(t, vlmtest.Model(t, cpu.Open(0), attention), "a red circle", 2)
		if len(want.Words) != 2 || want.Omitted != 1 || want.Words[0].Text != "a" || want.Words[1].Text != "red" {
			t.Fatalf("%d words (%+v), %d omitted, want a, red and 1 more", len(want.Words), want.Words, want.Omitted)
		}
		if want.Words[0].Mean.Answer != 0 || want.Words[1].Mean.Answer <= 0 {
			t.Errorf("the attention of the words to the answer is %g and %g, want 0 for the first", want.Words[0].Mean.Answer, want.Words[1].Mean.Answer)
		}
		for _, dev := range devices.Open(t) {
			for storage, tolerance := range map[shaders.Type]float64{
				shaders.F32: 1e-5,
				// Scores of about 1 after some thirty random roundings, averaged.
				shaders.BF16: math.Sqrt(30) * 0x1p-8, shaders.F16: math.Sqrt(30) * 0x1p-11,
			} {
				if attention != packing.Document && (dev.Info().Device != "cpu" || storage.Half()) {
					continue // TestGoldenAttentionWeights covers these
				}
				t.Run(string(attention)+"/"+dev.Info().Device+"/"+storage.String(), func(t *testing.T) {
					got := explainTest(t, vlmtest.ModelAs(t, dev, attention, storage), "a red circle", 2)
					for i, w := range got.Words {
						maps := append(slices.Clone(w.Layers), w.Mean)
						for j, m := range maps {
							if sum := m.ImageShare() + m.Prompt + m.Answer; !(math.Abs(sum-1) <= 1e-5) {
								t.Errorf("%s, layer %d: the attention sums to %g", w.Text, j, sum)
							}
						}
						for j, share := range w.Mean.Patches {
							if reference := want.Words[i].Mean.Patches[j]; !(math.Abs(share-reference) <= tolerance) {
								t.Fatalf("%s: patch %d has %g, on the CPU in f32 %g", w.Text, j, share, reference)
							}
						}
					}
				})
			}
		}
	}
}

// TestExplainPatches: the values of an attention map belong to the right patch tokens of the first
// and second image, and the mean is that of all layers.
func TestExplainPatches(t *testing.T) {
	l := vlmtest.Model(t, cpu.Open(0), packing.Document)
	prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 2}, nil)
	require.NoError(t, err)
	images, answer := [][]byte{vlmtest.Pixels(t, 0), vlmtest.Pixels(t, 1)}, vlmtest.PlainIDs(l.Processor.Tokenizer, "a")
	e, err := Explain(context.Background(), l, prompt, images, answer, 1)
	require.NoError(t, err)
	n := len(prompt.IDs)
	b, err := packing.Build(packing.Shape{Rows: 1, T: n, Patches: l.Config.Vision.Patches()},
		packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: prompt.IDs, LossMask: make([]bool, n), Images: prompt.Images}}})
	require.NoError(t, err)
	each := make([]int, n) // a group for every token
	for i := range each {
		each[i] = i
	}
	layers, err := probe(context.Background(), l, b, slices.Concat(images...), []int32{int32(n - 1)}, each, n)
	require.NoError(t, err)
	patches := l.Config.Vision.Patches()
	for img, start := range prompt.Images {
		for p := range patches {
			want := 0.0
			for _, layer := range layers {
				want += float64(layer[0][start+p]) / float64(len(layers))
			}
			if got := e.Words[0].Mean.Patches[img*patches+p]; !(math.Abs(got-want) <= 1e-6) { // rounding of the mean
				t.Fatalf("image %d, patch %d has %g, its token %g", img, p, got, want)
			}
		}
	}
}

// TestExplainBranch: a question in a shared-prefix sample has the same attention to the image as
// alone.
func TestExplainBranch(t *testing.T) {
	turns := []chat.Turn{{User: "what color is the shape?", Assistant: "green"}, {User: "is there a red shape?", Assistant: "no"}}
	l := vlmtest.Model(t, cpu.Open(0), packing.DocumentBidirectionalImage)
	sampler := packing.Sampler{Encoder: l.Processor.Encoder, RowLen: 256, Turns: packing.SharedPrefix}
	samples, _, err := sampler.Samples(0, chat.Conversation{Turns: turns, Images: 1})
	require.NoError(t, err)
	weights := func(s *packing.Sample, how packing.Turns, query int) [][][]float32 {
		b, err := packing.Build(packing.Shape{Rows: 1, T: s.Len(), Patches: l.Config.Vision.Patches()},
			packing.Modes{Attention: l.Config.Attention, Turns: how, Loss: packing.OnAll}, [][]*packing.Sample{{s}})
		require.NoError(t, err)
		group, text := make([]int, s.Len()), l.Config.Vision.Patches()
		for i, slot := range b.ImageSlots {
			if group[i] = int(slot); slot < 0 {
				group[i] = text
			}
		}
		got, err := probe(context.Background(), l, b, vlmtest.Pixels(t, 1), []int32{int32(query)}, group, text+1)
		require.NoError(t, err)
		return got
	}
	one, err := l.Processor.Conversation(chat.Conversation{Turns: turns[1:], Images: 1})
	require.NoError(t, err)
	together := weights(samples[0], packing.SharedPrefix, samples[0].Len()-2)
	alone := weights(&packing.Sample{IDs: one.IDs, LossMask: one.LossMask, Images: one.Images}, packing.InConversation, len(one.IDs)-2)
	for layer := range alone {
		for j, want := range alone[layer][0] {
			if got := together[layer][0][j]; !(math.Abs(float64(got-want)) <= 1e-6) { // another summation order
				t.Fatalf("layer %d: patch %d has %g with a shared prefix, %g alone", layer, j, got, want)
			}
		}
	}
}

// TestExplainErrors: an empty answer and a missing image are errors.
func TestExplainErrors(t *testing.T) {
	l := vlmtest.Model(t, cpu.Open(0), packing.Document)
	prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what?"}}, Images: 1}, nil)
	require.NoError(t, err)
	if _, err := Explain(context.Background(), l, prompt, [][]byte{vlmtest.Pixels(t, 0)}, nil, 4); !errors.Is(err, ErrNoWords) {
		t.Errorf("an empty answer: %v, want %v", err, ErrNoWords)
	}
	if _, err := Explain(context.Background(), l, prompt, nil, []int32{5}, 4); err == nil {
		t.Error("no error for a missing image")
	}
}

// TestSplitWords: every token with letters belongs to one word, in order.
func TestSplitWords(t *testing.T) {
	tok := vlmtest.Model(t, cpu.Open(0), packing.Document).Processor.Tokenizer
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil}, {"  \n ", nil}, {"red", []string{"red"}}, {" a blue  circle.\nno", []string{"a", "blue", "circle.", "no"}},
		{"größe 円形", []string{"größe", "円形"}},
		{"abcdefghijklmnopqrstuvwxyz", []string{"abcdefghijklmnopqrst", "uvwxyz"}},
	} {
		ids := vlmtest.PlainIDs(tok, c.text)
		var got []string
		next := 0
		for _, w := range splitWords(tok, ids) {
			got = append(got, w.text)
			for _, token := range w.tokens {
				if token < next {
					t.Errorf("%q: token %d comes after token %d", c.text, token, next-1)
				}
				next = token + 1
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}
