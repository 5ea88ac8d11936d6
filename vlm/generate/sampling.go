package generate

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"patchwork/shaders/simd"
)

// Sampling are the settings of sampling, applied in this order: repetition penalty, temperature,
// top k, top p. The zero value is greedy decoding.
type Sampling struct {
	// RepetitionPenalty divides the positive logits of tokens that occur in the prompt or the
	// answer, and multiplies negative ones (Keskar et al., "CTRL", 2019). 0 or 1 = none.
	RepetitionPenalty float64
	Temperature       float64 // 0: greedy
	TopK              int     // keep the k most likely tokens; 0 = all
	TopP              float64 // keep the most likely tokens that together have this probability; 0 or 1 = all
	Seed              uint64
	// PresencePenalty is subtracted once from the logits of tokens that occur in the answer,
	// FrequencyPenalty for every occurrence, before the temperature.
	PresencePenalty, FrequencyPenalty float64
}

// sampler samples tokens; nil is greedy.
type sampler struct {
	Sampling
	random     *rand.Rand
	suppressed []int32 // never chosen
	seen       []int32 // distinct tokens so far
	isSeen     map[int32]bool
	counts     map[int32]int // of the tokens of the answer; nil without penalties
	options    Options
	logits     []float32
	candidates []candidate
}

// sampler returns a sampler for the tokens after a prompt, which never chooses the suppressed ones.
func (s Sampling) sampler(prompt, suppressed []int32) *sampler {
	if s.Temperature <= 0 && (s.RepetitionPenalty == 0 || s.RepetitionPenalty == 1) && s.PresencePenalty == 0 && s.FrequencyPenalty == 0 {
		return nil
	}
	return s.newSampler(prompt, suppressed)
}

// sampler returns a sampler for the tokens after a prompt; nil: the argmax of the logits is enough.
func (o Options) sampler(prompt, suppressed []int32) *sampler {
	s := o.Sampling.sampler(prompt, suppressed)
	if s == nil && (o.LogProbs || o.Constraint != nil || len(o.Bias) > 0) {
		s = o.Sampling.newSampler(prompt, suppressed)
	}
	if s != nil {
		s.options = o
	}
	return s
}

func (s Sampling) newSampler(prompt, suppressed []int32) *sampler {
	if s.RepetitionPenalty == 0 {
		s.RepetitionPenalty = 1
	}
	out := &sampler{Sampling: s, suppressed: suppressed, random: rand.New(rand.NewPCG(s.Seed, 0x7361_6d70_6c65)), isSeen: map[int32]bool{}}
	if s.PresencePenalty != 0 || s.FrequencyPenalty != 0 {
		out.counts = map[int32]int{}
	}
	for _, id := range prompt {
		out.addSeen(id)
	}
	return out
}

func (s *sampler) addSeen(id int32) {
	if s.RepetitionPenalty != 1 && !s.isSeen[id] {
		s.isSeen[id], s.seen = true, append(s.seen, id)
	}
}

// logitsBuffer returns a reused buffer for the logits of a vocabulary.
func (s *sampler) logitsBuffer(vocabulary int) []float32 {
	if len(s.logits) != vocabulary {
		s.logits = make([]float32, vocabulary)
	}
	return s.logits
}

// next samples a token; ok is false if a logit is NaN or the largest is infinite. It overwrites
// the logits.
func (s *sampler) next(logits []float32) (id int32, ok bool) {
	t, err := s.token(logits)
	return t.ID, err == nil
}

var errNotFinite = errors.New("a logit is not finite")

// token samples a token. The error is errNotFinite, or ErrNoToken. It overwrites the logits.
func (s *sampler) token(logits []float32) (t Token, err error) {
	if !canSample(logits) {
		return t, errNotFinite
	}
	var probs logProbs
	if s.options.LogProbs {
		probs = newLogProbs(logits, s.options.TopLogProbs)
		t.Top = probs.top
	}
	s.adjust(logits)
	if s.options.Constraint != nil && !s.options.Constraint.Mask(logits) {
		return t, ErrNoToken
	}
	if t.ID = s.draw(logits); s.options.Constraint != nil {
		s.options.Constraint.Accept(t.ID)
	}
	s.addSeen(t.ID)
	if s.counts != nil {
		s.counts[t.ID]++
	}
	if s.options.LogProbs {
		t.LogProb = probs.of(t.ID)
	}
	return t, nil
}

// adjust applies penalties and biases, and excludes the suppressed tokens.
func (s *sampler) adjust(logits []float32) {
	for _, id := range s.seen {
		logits[id] = penalize(logits[id], s.RepetitionPenalty)
	}
	for id, n := range s.counts {
		logits[id] -= float32(s.PresencePenalty + float64(n)*s.FrequencyPenalty)
	}
	for id, bias := range s.options.Bias {
		if int(id) < len(logits) {
			logits[id] += bias
		}
	}
	for _, id := range s.suppressed {
		logits[id] = float32(math.Inf(-1))
	}
}

// canSample reports whether logits define a distribution: none is NaN, and the largest is finite.
func canSample(logits []float32) bool {
	if squares := simd.SumSquares(logits); squares < math.Inf(1) {
		return true
	}
	largest := math.Inf(-1)
	for _, v := range logits {
		largest = max(largest, float64(v)) // NaN if any is
	}
	return !math.IsNaN(largest) && !math.IsInf(largest, 0)
}

// penalize applies a repetition penalty of any size to a logit: 0 stays 0, and the result is
// clamped to the range of float32.
func penalize(v float32, penalty float64) float32 {
	x := float64(v)
	switch {
	case x > 0:
		x /= penalty
	case x < 0:
		x *= penalty
	}
	return float32(min(max(x, -math.MaxFloat32), math.MaxFloat32))
}

// candidate is a token with its logit, or with its unnormalized probability.
type candidate struct {
	id int32
	v  float32
}

// byProbability orders candidates by descending probability, then by id.
func byProbability(a, b candidate) int { return cmp.Or(cmp.Compare(b.v, a.v), cmp.Compare(a.id, b.id)) }

func (s *sampler) draw(logits []float32) int32 {
	if s.Temperature <= 0 {
		return int32(slices.Index(logits, simd.Max(logits)))
	}
	total := s.softmax(logits)
	if s.TopP > 0 && s.TopP < 1 {
		s.candidates, total = nucleus(s.candidates, s.TopP, total)
	}
	return candidateAt(s.candidates, s.random.Float64()*total)
}

// candidateAt returns the candidate at which the cumulative sum of the probabilities passes a
// point, or the last with a probability above 0 if rounding leaves none.
func candidateAt(kept []candidate, at float64) (id int32) {
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

// softmax sets candidates to the top k with exp((logit-max)/temperature) and returns their sum.
func (s *sampler) softmax(logits []float32) float64 {
	largest, factor := simd.Max(logits), inverseTemperature(s.Temperature)
	s.candidates = s.candidates[:0]
	if s.TopK > 0 && s.TopK < len(logits) {
		s.candidates = topK(s.candidates, logits, s.TopK)
		total := 0.0
		for i := range s.candidates {
			c := &s.candidates[i]
			c.v = simd.Exp((c.v - largest) * factor)
			total += float64(c.v)
		}
		return total
	}
	for i, v := range logits {
		logits[i] = (v - largest) * factor
	}
	total := simd.ExpSum(logits, logits, 0)
	for i, v := range logits {
		s.candidates = append(s.candidates, candidate{int32(i), v})
	}
	return total
}

// inverseTemperature is 1/temperature, clamped to normal floats: infinity and 0 would make NaN of
// 0 and of -Inf. At the bounds only the largest logit counts, or all are equal.
func inverseTemperature(temperature float64) float32 {
	const smallestNormal = 0x1p-126
	return float32(min(max(1/temperature, smallestNormal), math.MaxFloat32))
}

// topK appends the k largest logits, using a heap with the smallest at its root, which few logits
// exceed.
func topK(heap []candidate, logits []float32, k int) []candidate {
	for i, v := range logits {
		switch {
		case len(heap) < k:
			if heap = append(heap, candidate{int32(i), v}); len(heap) == k {
				heapify(heap, byProbability)
			}
		case v > heap[0].v:
			heap[0] = candidate{int32(i), v}
			sink(heap, 0, byProbability)
		}
	}
	return heap
}

// heapify makes a heap with the last element of an order at its root.
func heapify(heap []candidate, order func(a, b candidate) int) {
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sink(heap, i, order)
	}
}

// sink restores the heap after element i changed.
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

// nucleus keeps the fewest most likely candidates with the given share of the total (Holtzman et
// al., "The curious case of neural text degeneration", 2020), and returns their sum. They are
// popped from a heap. Candidates below (1-share)·total/n are dropped first: together they have
// less than 1-share of the total.
func nucleus(all []candidate, share, total float64) ([]candidate, float64) {
	threshold := min(float32((1-share)*total/float64(len(all))), 1) // the largest is 1 and is kept
	heap := slices.DeleteFunc(all, func(c candidate) bool { return c.v < threshold })
	leastLikelyFirst := func(a, b candidate) int { return -byProbability(a, b) }
	heapify(heap, leastLikelyFirst)
	sum, end := 0.0, len(heap)
	for end > 0 && (sum == 0 || sum < share*total) {
		end--
		sum += float64(heap[0].v)
		heap[0], heap[end] = heap[end], heap[0]
		sink(heap[:end], 0, leastLikelyFirst)
	}
	return heap[end:], sum
}
