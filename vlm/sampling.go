package vlm

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Sampling says how the next token is drawn. The zero value takes the likeliest.
type Sampling struct {
	Temperature float64 // 0: greedy
	TopK        int     // only the k likeliest; 0 = all
	TopP        float64 // only the likeliest that together have this share; 0 or 1 = all
	Seed        uint64
}

// sampler draws tokens; nil is greedy.
type sampler struct {
	Sampling
	random *rand.Rand
}

func (s Sampling) sampler() *sampler {
	if s.Temperature <= 0 {
		return nil
	}
	return &sampler{s, rand.New(rand.NewPCG(s.Seed, 0x7361_6d70_6c65))}
}

type candidate struct {
	id int32
	p  float64
}

// next draws from softmax(logits/temperature), cut to the top k and then to the
// smallest set of the likeliest that has TopP of it (Holtzman et al., 2020).
func (s *sampler) next(logits []float32) int32 {
	most := float64(slices.Max(logits))
	all := make([]candidate, len(logits))
	for i, v := range logits {
		all[i] = candidate{int32(i), math.Exp((float64(v) - most) / s.Temperature)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.p, a.p) })
	if s.TopK > 0 {
		all = all[:min(s.TopK, len(all))]
	}
	total := 0.0
	for _, c := range all {
		total += c.p
	}
	if s.TopP > 0 && s.TopP < 1 {
		all, total = nucleus(all, s.TopP*total)
	}
	at := s.random.Float64() * total
	for _, c := range all {
		if at -= c.p; at < 0 {
			return c.id
		}
	}
	return all[len(all)-1].id
}

// nucleus cuts sorted candidates once they have the share, and returns what they
// have.
func nucleus(sorted []candidate, share float64) ([]candidate, float64) {
	sum := 0.0
	for i, c := range sorted {
		if sum += c.p; sum >= share {
			return sorted[:i+1], sum
		}
	}
	return sorted, sum
}
