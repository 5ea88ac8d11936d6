package generate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// reference computes the probabilities by sorting in float64.
func reference(s Sampling, logits []float32, seen []int32) map[int32]float64 {
	type token struct {
		id int32
		p  float64
	}
	var all []token
	for i, v := range logits {
		x := float64(v)
		if s.RepetitionPenalty != 0 && slices.Contains(seen, int32(i)) {
			if x > 0 {
				x /= s.RepetitionPenalty
			} else {
				x *= s.RepetitionPenalty
			}
		}
		all = append(all, token{int32(i), math.Exp(x / s.Temperature)})
	}
	slices.SortStableFunc(all, func(a, b token) int {
		if a.p > b.p {
			return -1
		}
		return 1
	})
	if s.TopK > 0 {
		all = all[:min(s.TopK, len(all))]
	}
	total, sum := 0.0, 0.0
	for _, t := range all {
		total += t.p
	}
	out := map[int32]float64{}
	for _, t := range all {
		out[t.id] = t.p
		if sum += t.p; s.TopP > 0 && s.TopP < 1 && sum >= s.TopP*total {
			break
		}
	}
	for id := range out {
		out[id] /= sum
	}
	return out
}

func randomLogits(seed uint64, n int) []float32 {
	random := rand.New(rand.NewPCG(seed, 9))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(4 * random.NormFloat64())
	}
	return x
}

// TestSampling compares the kept candidates and their probabilities with the reference.
func TestSampling(t *testing.T) {
	seen := []int32{3, 50, 3, 7, 99}
	for _, s := range []Sampling{
		{Temperature: 1}, {Temperature: 0.3}, {Temperature: 2.5},
		{Temperature: 1, TopK: 1}, {Temperature: 1, TopK: 2}, {Temperature: 0.7, TopK: 40}, {Temperature: 1, TopK: 1000}, {Temperature: 1, TopK: 5000},
		{Temperature: 1, TopP: 0.9}, {Temperature: 1.5, TopP: 0.5}, {Temperature: 1, TopP: 1e-6}, {Temperature: 2, TopP: 0.999}, {Temperature: 1, TopP: 1},
		{Temperature: 0.8, TopK: 50, TopP: 0.9}, {Temperature: 1.2, TopK: 300, TopP: 0.7},
		{Temperature: 1, RepetitionPenalty: 1.3}, {Temperature: 0.6, TopK: 20, TopP: 0.8, RepetitionPenalty: 2}, {Temperature: 1, TopK: 20, RepetitionPenalty: 0.5},
	} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%+v/%d", s, seed), func(t *testing.T) {
				logits := randomLogits(seed, 1000)
				want := reference(s, logits, seen)
				sampler := s.sampler(seen, nil)
				got, ok := sampler.next(logits)
				if !ok {
					t.Fatal("finite logits are rejected")
				}
				if want[got] == 0 {
					t.Errorf("drew %d, which is cut off", got)
				}
				if len(sampler.candidates) != len(want) {
					t.Fatalf("%d tokens are kept, want %d", len(sampler.candidates), len(want))
				}
				total := 0.0
				for _, c := range sampler.candidates {
					total += float64(c.v)
				}
				for _, c := range sampler.candidates {
					// exp of a difference of up to 60 in single precision.
					if p := float64(c.v) / total; math.Abs(p-want[c.id]) > 1e-5*want[c.id]+1e-12 {
						t.Errorf("token %d has %g, want %g", c.id, p, want[c.id])
					}
				}
			})
		}
	}
}

// TestSamplingDraws: token frequencies match the probabilities, and the same seed gives the same
// tokens.
func TestSamplingDraws(t *testing.T) {
	s := Sampling{Temperature: 1, TopK: 6, Seed: 7}
	logits := randomLogits(1, 50)
	want := reference(s, logits, nil)
	const draws = 20000
	counts := map[int32]int{}
	var first, again, other []int32
	sampler := s.sampler(nil, nil)
	for range draws {
		id, _ := sampler.next(slices.Clone(logits))
		counts[id]++
		first = append(first, id)
	}
	for id, p := range want {
		// Four standard deviations of a binomial.
		if got := float64(counts[id]) / draws; math.Abs(got-p) > 4*math.Sqrt(p*(1-p)/draws) {
			t.Errorf("token %d came with %g, want %g", id, got, p)
		}
	}
	sampler = s.sampler(nil, nil)
	s.Seed = 8
	different := s.sampler(nil, nil)
	for range draws {
		same, _ := sampler.next(slices.Clone(logits))
		another, _ := different.next(slices.Clone(logits))
		again, other = append(again, same), append(other, another)
	}
	if !slices.Equal(first, again) {
		t.Error("the same seed drew other tokens")
	}
	if slices.Equal(first, other) {
		t.Error("another seed drew the same tokens")
	}
}

// TestRepetitionPenalty: greedy decoding with a penalty on the prompt and the generated tokens.
func TestRepetitionPenalty(t *testing.T) {
	logits := []float32{2, 5, -1, 4.5, 4}
	for _, c := range []struct {
		penalty float64
		prompt  []int32
		want    []int32
	}{
		{0, nil, []int32{1, 1, 1}},
		{1, []int32{1}, []int32{1, 1, 1}},
		{1.2, nil, []int32{1, 3, 1}}, // 5/1.2 = 4.17 against 4.5, then 4.5/1.2 = 3.75 against 4.17
		{1.2, []int32{1, 1, 3}, []int32{1, 1, 1}},
		{1.5, []int32{1, 3}, []int32{4, 1, 1}},
		{100, []int32{0, 1, 3, 4}, []int32{1, 1, 1}}, // -1·100 is still the smallest
	} {
		s := Sampling{RepetitionPenalty: c.penalty}
		sampler := s.sampler(c.prompt, nil)
		if sampler == nil {
			if c.penalty > 1 {
				t.Errorf("%v: no penalty", c.penalty)
			}
			continue
		}
		var got []int32
		for range c.want {
			id, _ := sampler.next(slices.Clone(logits))
			got = append(got, id)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("penalty %v after %v: %v, want %v", c.penalty, c.prompt, got, c.want)
		}
	}
}

func BenchmarkSampling(b *testing.B) {
	for _, s := range []Sampling{
		{Temperature: 1}, {Temperature: 1, TopK: 50}, {Temperature: 1, TopP: 0.9}, {Temperature: 0.7, TopK: 50, TopP: 0.9, RepetitionPenalty: 1.1},
	} {
		b.Run(fmt.Sprintf("t=%g/k=%d/p=%g/penalty=%g", s.Temperature, s.TopK, s.TopP, s.RepetitionPenalty), func(b *testing.B) {
			logits, work := randomLogits(1, 151936), make([]float32, 151936)
			sampler := s.sampler([]int32{1, 2, 3}, nil)
			for b.Loop() {
				copy(work, logits)
				sampler.next(work)
			}
		})
	}
}
