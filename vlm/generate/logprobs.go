package generate

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// logProbs are log-probabilities of a distribution.
type logProbs struct {
	logits []float32 // a copy
	sum    float64   // logarithm of the sum of their exponentials
	top    []TokenLogProb
}

// newLogProbs returns the log-probabilities of logits, with the n most likely tokens.
func newLogProbs(logits []float32, n int) logProbs {
	largest, total := float64(simd.Max(logits)), 0.0
	for _, v := range logits {
		total += math.Exp(float64(v) - largest)
	}
	p := logProbs{logits: slices.Clone(logits), sum: largest + math.Log(total)}
	if n = min(n, len(logits)); n > 0 {
		best := topK(nil, logits, n)
		slices.SortFunc(best, byProbability)
		for _, c := range best {
			p.top = append(p.top, TokenLogProb{c.id, p.of(c.id)})
		}
	}
	return p
}

// of returns the log-probability of a token.
func (p logProbs) of(id int32) float64 { return float64(p.logits[id]) - p.sum }
