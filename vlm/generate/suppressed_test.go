package generate

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// Suppressed tokens are never drawn, and the others as often as without their probability.
func TestSuppressedIsNeverDrawn(t *testing.T) {
	logits := randomLogits(1, 40)
	suppressed := []int32{largest(logits), 3, 17}
	for _, s := range []Sampling{
		{RepetitionPenalty: 1.3}, {Temperature: 1}, {Temperature: 1e-9}, {Temperature: 1e9}, {Temperature: 2, TopK: 5}, {Temperature: 1, TopP: 0.9},
		{Temperature: 1, TopK: 39, TopP: 0.99, RepetitionPenalty: 1.3},
	} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			sampler := s.sampler([]int32{3, 5}, suppressed)
			for range 3000 {
				if id, ok := sampler.next(slices.Clone(logits)); !ok || slices.Contains(suppressed, id) {
					t.Fatalf("token %d, %v", id, ok)
				}
			}
		})
	}
}

func largest(logits []float32) int32 { return int32(slices.Index(logits, slices.Max(logits))) }

// Greedy generation takes the largest of the logits that are not suppressed, on every device.
func TestSuppressedGreedy(t *testing.T) {
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			l := vlmtest.Model(t, dev, packing.Causal)
			g := New(l)
			defer g.Close()
			prompt, err := l.Processor.Messages([]chat.Message{{Role: "user", Content: "what color is the shape?"}}, chat.Options{AddGenerationPrompt: true})
			require.NoError(t, err)
			const tokens = 6
			l.Processor.EOS = nil
			free, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: tokens})
			require.NoError(t, err)
			l.Processor.Suppressed = []int32{free.IDs[0], free.IDs[2], 1}
			got, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: tokens})
			require.NoError(t, err)
			ids := slices.Clone(prompt.IDs)
			for i, id := range got.IDs {
				logits, _ := lastLogits(t, g, chat.Tokens{IDs: ids, LossMask: make([]bool, len(ids))}, nil)
				for _, s := range l.Processor.Suppressed {
					logits[s] = slices.Min(logits)
				}
				if want := largest(logits); id != want {
					t.Errorf("token %d is %d, want %d", i, id, want)
				}
				ids = append(ids, id)
			}
			if len(got.IDs) != tokens || slices.Equal(got.IDs, free.IDs) {
				t.Errorf("tokens %v, without suppression %v", got.IDs, free.IDs)
			}
		})
	}
}
