package generate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders/simd"
)

// Sampling says how the next token is drawn: the logits of tokens that occurred
// are penalised, all are divided by the temperature, cut to the top k and then to
// the top p, in this order. The zero value takes the likeliest.
type Sampling struct {
	// RepetitionPenalty divides the positive logits of every token that the prompt
	// or the answer has already, and multiplies the negative ones (Keskar et al.,
	// "CTRL", 2019). 0 or 1: none.
	RepetitionPenalty float64
	Temperature       float64 // 0: greedy
	TopK              int     // only the k likeliest; 0 = all
	TopP              float64 // only the likeliest that together have this share; 0 or 1 = all
	Seed              uint64
}

// sampler draws tokens; nil is greedy.
type sampler struct {
	Sampling
	random *rand.Rand
	seen   []int32 // tokens so far, each once
	known  map[int32]bool
	logits []float32
	kept   []candidate
}

// sampler starts drawing behind a prompt.
func (s Sampling) sampler(prompt []int32) *sampler {
	if s.RepetitionPenalty == 0 {
		s.RepetitionPenalty = 1
	}
	if s.Temperature <= 0 && s.RepetitionPenalty == 1 {
		return nil
	}
	out := &sampler{Sampling: s, random: rand.New(rand.NewPCG(s.Seed, 0x7361_6d70_6c65)), known: map[int32]bool{}}
	for _, id := range prompt {
		out.note(id)
	}
	return out
}

func (s *sampler) note(id int32) {
	if s.RepetitionPenalty != 1 && !s.known[id] {
		s.known[id], s.seen = true, append(s.seen, id)
	}
}

// room is where the logits of a vocabulary can be put.
func (s *sampler) room(vocabulary int) []float32 {
	if len(s.logits) != vocabulary {
		s.logits = make([]float32, vocabulary)
	}
	return s.logits
}

// next draws a token and takes note of it; ok is false where a logit is NaN, or the
// largest infinite. It uses the logits up.
func (s *sampler) next(logits []float32) (id int32, ok bool) {
	if !drawable(logits) {
		return 0, false
	}
	for _, id := range s.seen {
		logits[id] = penalised(logits[id], s.RepetitionPenalty)
	}
	id = s.draw(logits)
	s.note(id)
	return id, true
}

// drawable says whether a distribution follows from logits: none is NaN, and the largest
// is finite.
func drawable(logits []float32) bool {
	if squares := simd.SumSquares(logits); squares < math.Inf(1) {
		return true
	}
	most := math.Inf(-1)
	for _, v := range logits {
		most = max(most, float64(v)) // NaN where one is
	}
	return !math.IsNaN(most) && !math.IsInf(most, 0)
}

// penalised is a logit under a repetition penalty, of whatever size: 0 stays 0, and what
// leaves the range of floats ends at its edge.
func penalised(v float32, penalty float64) float32 {
	x := float64(v)
	switch {
	case x > 0:
		x /= penalty
	case x < 0:
		x *= penalty
	}
	return float32(min(max(x, -math.MaxFloat32), math.MaxFloat32))
}

// candidate is a token with its logit, or with what that gives in proportion to
// its probability.
type candidate struct {
	id int32
	v  float32
}

// likelier orders candidates: the likeliest first, of equals the first token.
func likelier(a, b candidate) int { return cmp.Or(cmp.Compare(b.v, a.v), cmp.Compare(a.id, b.id)) }

func (s *sampler) draw(logits []float32) int32 {
	if s.Temperature <= 0 {
		return int32(slices.Index(logits, simd.Max(logits)))
	}
	total := s.weigh(logits)
	if s.TopP > 0 && s.TopP < 1 {
		s.kept, total = nucleus(s.kept, s.TopP, total)
	}
	return drawn(s.kept, s.random.Float64()*total)
}

// drawn is the candidate that the running sum of their shares passes a point at. The sum's
// rounding may leave none: then it is the last that has a share.
func drawn(kept []candidate, at float64) (id int32) {
	for _, c := range kept {
		if c.v > 0 {
			id = c.id
		}
		if at -= float64(c.v); at < 0 {
			break
		}
	}
	return id
}

// weigh keeps the top k with exp(logit/temperature), the largest made 1, and
// returns their sum.
func (s *sampler) weigh(logits []float32) float64 {
	most, factor := simd.Max(logits), inverse(s.Temperature)
	s.kept = s.kept[:0]
	if s.TopK > 0 && s.TopK < len(logits) {
		s.kept = top(s.kept, logits, s.TopK)
		total := 0.0
		for i := range s.kept {
			c := &s.kept[i]
			c.v = simd.Exp((c.v - most) * factor)
			total += float64(c.v)
		}
		return total
	}
	for i, v := range logits {
		logits[i] = (v - most) * factor
	}
	total := simd.ExpSum(logits, logits, 0)
	for i, v := range logits {
		s.kept = append(s.kept, candidate{int32(i), v})
	}
	return total
}

// inverse is 1/temperature within the range of normal floats. There is none but the
// largest at a factor that large, and all are equal at one that small; infinity and 0
// would make NaN of 0 and of -Inf.
func inverse(temperature float64) float32 {
	const smallestNormal = 0x1p-126
	return float32(min(max(1/temperature, smallestNormal), math.MaxFloat32))
}

// top appends the k largest logits: a heap of them with the least at its root,
// which few of the logits pass.
func top(heap []candidate, logits []float32, k int) []candidate {
	for i, v := range logits {
		switch {
		case len(heap) < k:
			if heap = append(heap, candidate{int32(i), v}); len(heap) == k {
				heapify(heap, likelier)
			}
		case v > heap[0].v:
			heap[0] = candidate{int32(i), v}
			sink(heap, 0, likelier)
		}
	}
	return heap
}

// heapify makes a heap with the last in an order at its root.
func heapify(heap []candidate, order func(a, b candidate) int) {
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sink(heap, i, order)
	}
}

// sink restores a heap after element i changed.
func sink(heap []candidate, i int, order func(a, b candidate) int) {
	for {
		child := 2*i + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && order(heap[child], heap[child+1]) < 0 {
			child++
		}
		if order(heap[i], heap[child]) >= 0 {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}

// nucleus keeps the fewest of the likeliest that have the share of the total
// (Holtzman et al., "The curious case of neural text degeneration", 2020), and
// returns what they have. It takes them from the root of a heap, and does not
// even put into it what has less than its part of the rest: all that together
// does not have the rest.
func nucleus(all []candidate, share, total float64) ([]candidate, float64) {
	least := min(float32((1-share)*total/float64(len(all))), 1) // the likeliest is 1, and stays
	heap := slices.DeleteFunc(all, func(c candidate) bool { return c.v < least })
	unlikelier := func(a, b candidate) int { return -likelier(a, b) }
	heapify(heap, unlikelier)
	sum, end := 0.0, len(heap)
	for end > 0 && (sum == 0 || sum < share*total) {
		end--
		sum += float64(heap[0].v)
		heap[0], heap[end] = heap[end], heap[0]
		sink(heap[:end], 0, unlikelier)
	}
	return heap[end:], sum
}
