package generate

import (
	"errors"
	"math"
	"slices"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestLogProbs: probabilities are those of the logits, whatever the sampling.
func TestLogProbs(t *testing.T) {
	logits := randomLogits(4, 50)
	total := 0.0
	for _, v := range logits {
		total += math.Exp(float64(v))
	}
	s := Options{Sampling: Sampling{Temperature: 3, TopK: 5}, LogProbs: true, TopLogProbs: 3, Bias: map[int32]float32{7: -100}}.sampler(nil, []int32{2})
	for range 20 {
		got, err := s.token(slices.Clone(logits))
		require.NoError(t, err)
		if want := float64(logits[got.ID]) - math.Log(total); math.Abs(got.LogProb-want) > 1e-6 { // a logit is a float32 of some 5
			t.Errorf("token %d has %g, want %g", got.ID, got.LogProb, want)
		}
		if len(got.Top) != 3 || got.Top[0].ID != largest(logits) || got.Top[0].LogProb < got.Top[1].LogProb || got.Top[1].LogProb < got.Top[2].LogProb {
			t.Errorf("most likely: %+v", got.Top)
		}
	}
}

// TestPenalties: each occurrence in the answer costs a token FrequencyPenalty, the first also
// PresencePenalty; tokens of the prompt cost nothing.
func TestPenalties(t *testing.T) {
	s := Options{Sampling: Sampling{PresencePenalty: 1, FrequencyPenalty: 0.25}}.sampler([]int32{0}, nil)
	var got []int32
	for range 5 {
		next, err := s.token([]float32{2, 1.9, 0})
		require.NoError(t, err)
		got = append(got, next.ID)
	}
	// 2, then 1.9, then 2-1.25 = 0.75, then 1.9-1.25 = 0.65, then 2-1.5 = 0.5
	if want := []int32{0, 1, 0, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if s := (Options{}).sampler(nil, nil); s != nil {
		t.Error("greedy decoding needs no sampler")
	}
}

// only permits tokens in turn.
type only struct{ ids []int32 }

func (o *only) Mask(logits []float32) bool {
	for id := range logits {
		if len(o.ids) == 0 || int32(id) != o.ids[0] {
			logits[id] = float32(math.Inf(-1))
		}
	}
	return len(o.ids) > 0
}

func (o *only) Accept(int32) { o.ids = o.ids[1:] }

// TestConstraint: an answer has the tokens that its constraint permits, and ends with an error where
// there are none; a Token function ends it early.
func TestConstraint(t *testing.T) {
	l := vlmtest.Model(t, cpu.Open(0), packing.Document)
	g := New(l)
	defer g.Close()
	prompt, err := l.Processor.Messages([]chat.Message{{Role: "user", Content: "what color is the shape?"}}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	l.Processor.EOS = nil
	for _, temperature := range []float64{0, 1} {
		ids := []int32{20, 30, 25, 31}
		o := Options{MaxNewTokens: 4, Sampling: Sampling{Temperature: temperature}, Constraint: &only{slices.Clone(ids)}}
		got, err := g.Generate(t.Context(), prompt, nil, o)
		require.NoError(t, err)
		if !slices.Equal(got.IDs, ids) {
			t.Errorf("%v, want %v", got.IDs, ids)
		}
		o.MaxNewTokens, o.Constraint = 5, &only{slices.Clone(ids)}
		if _, err := g.Generate(t.Context(), prompt, nil, o); !errors.Is(err, ErrNoToken) {
			t.Errorf("%v, want ErrNoToken", err)
		}
		o.Constraint, o.Token = &only{slices.Clone(ids)}, func(next Token) bool { return next.ID != 25 }
		if got, err = g.Generate(t.Context(), prompt, nil, o); err != nil || got.Finish != "stop" || !slices.Equal(got.IDs, ids[:3]) {
			t.Errorf("%v, %s, %v; want to stop after %v", got.IDs, got.Finish, err, ids[:3])
		}
	}
}
