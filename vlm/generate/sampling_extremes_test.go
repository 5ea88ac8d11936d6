package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestSamplingExtremes samples with settings at the limits of floats: tokens have the frequencies
// of the limit of the distribution.
func TestSamplingExtremes(t *testing.T) {
	inf := float32(math.Inf(-1))
	plain, tied, masked := []float32{1, 5, 3, 4.99}, []float32{5, 1, 5, -3}, []float32{inf, 2, inf, 2, inf}
	uniform := func(n int) map[int32]float64 {
		out := map[int32]float64{}
		for i := range n {
			out[int32(i)] = 1 / float64(n)
		}
		return out
	}
	many := make([]float32, 3000) // all equal: each is smaller than the rounding error of the sum
	far := []float32{-math.MaxFloat32, math.MaxFloat32, 0}
	for _, c := range []struct {
		name   string
		s      Sampling
		logits []float32
		seen   []int32
		want   map[int32]float64
	}{
		{"smallest temperature", Sampling{Temperature: 5e-324}, plain, nil, uniformOf(1)},
		{"cold", Sampling{Temperature: 1e-39}, plain, nil, uniformOf(1)},
		{"cold, the last normal inverse", Sampling{Temperature: 2.9e-39}, plain, nil, uniformOf(1)},
		{"cold, tied", Sampling{Temperature: 1e-39}, tied, nil, uniformOf(0, 2)},
		{"cold, top k", Sampling{Temperature: 1e-39, TopK: 2}, plain, nil, uniformOf(1)},
		{"cold, tied, top k 1", Sampling{Temperature: 1e-39, TopK: 1}, tied, nil, uniformOf(0)},
		{"cold, tied, top p", Sampling{Temperature: 1e-300, TopP: 0.9}, tied, nil, uniformOf(0, 2)},
		{"cold, masked", Sampling{Temperature: 1e-39}, masked, nil, uniformOf(1, 3)},
		{"hot", Sampling{Temperature: 1e39}, plain, nil, uniform(4)},
		{"largest temperature", Sampling{Temperature: math.MaxFloat64}, tied, nil, uniform(4)},
		{"hot, masked", Sampling{Temperature: 1e300}, masked, nil, uniformOf(1, 3)},
		{"hot, masked, top k", Sampling{Temperature: 1e300, TopK: 4}, masked, nil, uniformOf(1, 3)},
		{"hot, masked, top p", Sampling{Temperature: 1e39, TopP: 0.99}, masked, nil, uniformOf(1, 3)},
		{"masked", Sampling{Temperature: 1}, masked, nil, uniformOf(1, 3)},
		{"far apart", Sampling{Temperature: 1}, far, nil, uniformOf(1)},
		{"smallest top p", Sampling{Temperature: 1, TopP: 5e-324}, plain, nil, uniformOf(1)},
		{"smallest top p, all equal", Sampling{Temperature: 1, TopP: 5e-324}, many, nil, nil},
		{"small top p, all equal", Sampling{Temperature: 1, TopP: 1e-17}, many, nil, nil},
		{"top p just below 1", Sampling{Temperature: 1, TopP: 1 - 1e-16}, tied[:1], nil, uniformOf(0)},
		{"top k 1", Sampling{Temperature: 100, TopK: 1}, plain, nil, uniformOf(1)},
		{"one token", Sampling{Temperature: 1e-39, TopK: 1, TopP: 1e-300}, []float32{-7}, nil, uniformOf(0)},
		{"huge penalty", Sampling{Temperature: 1, RepetitionPenalty: 1e300}, []float32{0, 40, -1, 0}, []int32{0, 1, 2}, uniformOf(0, 1, 3)},
		{"huge penalty, greedy", Sampling{RepetitionPenalty: 1e300}, []float32{-1, 0, -2}, []int32{0, 1, 2}, uniformOf(1)},
		{"huge penalty of all, cold", Sampling{Temperature: 1e-39, RepetitionPenalty: math.MaxFloat64}, []float32{-1, -1}, []int32{0, 1}, uniformOf(0, 1)},
		{"tiny penalty", Sampling{Temperature: 1, RepetitionPenalty: 5e-324}, []float32{1, 2, -3}, []int32{0}, uniformOf(0)},
		{"tiny penalty, greedy", Sampling{RepetitionPenalty: 1e-30}, []float32{1, 2, 3}, []int32{0, 1}, uniformOf(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			const draws = 2000
			sampler, counts := c.s.sampler(c.seen, nil), map[int32]int{}
			for range draws {
				sampler.isSeen, sampler.seen = map[int32]bool{}, slices.Clone(c.seen) // independent draws
				id, ok := sampler.next(slices.Clone(c.logits))
				if !ok || int(id) >= len(c.logits) {
					t.Fatalf("drew %d, %v", id, ok)
				}
				counts[id]++
			}
			if c.want == nil {
				return
			}
			for id := range c.logits {
				got, want := float64(counts[int32(id)])/draws, c.want[int32(id)]
				// Five standard deviations of a binomial.
				if math.Abs(got-want) > 5*math.Sqrt(want*(1-want)/draws) {
					t.Errorf("token %d came with %g, want %g", id, got, want)
				}
			}
		})
	}
}

// uniformOf gives tokens equal probabilities.
func uniformOf(ids ...int32) map[int32]float64 {
	out := map[int32]float64{}
	for _, id := range ids {
		out[id] = 1 / float64(len(ids))
	}
	return out
}

// TestNonFiniteLogits: no token is sampled from NaN or infinite logits.
func TestNonFiniteLogits(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		logits []float32
		want   bool
	}{
		{[]float32{1, 2, 3}, true}, {[]float32{1, -inf, 3}, true}, {[]float32{3e38, -3e38}, true}, {[]float32{1e20, 0}, true},
		{[]float32{nan, 2, 3}, false}, {[]float32{1, nan, 3}, false}, {[]float32{1, 2, nan}, false}, {[]float32{nan, nan, nan}, false},
		{[]float32{1, inf, 3}, false}, {[]float32{inf, -inf, nan}, false}, {[]float32{-inf, -inf}, false}, {[]float32{-inf, nan}, false},
	} {
		for _, s := range []Sampling{{Temperature: 1}, {Temperature: 1, TopK: 1}, {Temperature: 1e-39, TopP: 0.5}, {RepetitionPenalty: 2}} {
			if _, ok := s.sampler([]int32{0}, nil).next(slices.Clone(c.logits)); ok != c.want {
				t.Errorf("%v with %+v: ok %v, want %v", c.logits, s, ok, c.want)
			}
		}
	}
}

// TestGenerateNotFinite: with a damaged weight Generate returns the position of the first
// non-finite logits, and no tokens.
func TestGenerateNotFinite(t *testing.T) {
	for _, dev := range devices.Open(t) {
		for _, c := range []struct {
			name  string
			where func(m *vlm.Model) *nn.Param // whose first value is replaced
			value float32
		}{
			{"NaN in a norm", func(m *vlm.Model) *nn.Param { return m.Params.ByName("decoder.model.norm.weight") }, float32(math.NaN())},
			{"NaN in one row of the head", func(m *vlm.Model) *nn.Param { return m.VocabularyParams()[0] }, float32(math.NaN())},
			{"infinity in the norm", func(m *vlm.Model) *nn.Param { return m.Params.ByName("decoder.model.norm.weight") }, float32(math.Inf(1))},
		} {
			for _, s := range []Sampling{{}, {Temperature: 1}, {Temperature: 0.5, TopK: 1}, {RepetitionPenalty: 1.5}} {
				t.Run(fmt.Sprintf("%s/%s/%+v", dev.Info().Device, c.name, s), func(t *testing.T) {
					l := vlmtest.ModelAs(t, dev, packing.Document, shaders.F32)
					damaged := c.where(l.Model)
					values, err := l.Params.Read(dev, l.Params.Weights, damaged)
					require.NoError(t, err)
					values[0] = c.value
					require.NoError(t, l.Params.Write(dev, damaged, values))
					g := New(l)
					defer g.Close()
					prompt := chat.Tokens{IDs: vlmtest.PlainIDs(l.Processor.Tokenizer, "is there a red shape?")}
					prompt.LossMask = make([]bool, len(prompt.IDs))
					called := 0
					got, err := g.Generate(context.Background(), prompt, nil, Options{MaxNewTokens: 5, Sampling: s, Token: func(Token) bool { called++; return true }})
					var bad *NotFiniteError
					if !errors.As(err, &bad) || bad.Token != len(prompt.IDs) {
						t.Fatalf("got %v and %v, want it not finite after token %d", got.IDs, err, len(prompt.IDs))
					}
					if called > 0 || len(got.IDs) > 0 {
						t.Errorf("Token was called %d times, %v returned", called, got.IDs)
					}
				})
			}
		}
	}
}
