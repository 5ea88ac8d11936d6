package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
)

// Measured is how fast a device takes training steps like a recipe's.
type Measured struct {
	FlopsPerSecond float64
	What           string // the step that was measured
}

// sample is a training step of a recipe's kind, cut to what can be measured soon.
type sample struct{ layers, vocabulary, rows, tokens int }

// The first sample, which every device takes in a moment.
const (
	firstTokens     = 256
	firstVocabulary = 8192
)

// measuredSteps is how many steps of a sample are wanted behind its first, which
// compiles.
const measuredSteps = 3

// MeasureStep measures training steps on a device for about as long as limit says: a
// small one, and then the largest up to the recipe's own that there is time and memory
// for. Rates of small steps are too low, as the optimizer's part of them is larger.
func MeasureStep(parent context.Context, dev engine.Device, r Recipe, limit time.Duration) (Measured, error) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	end := time.Now().Add(limit)
	samples := r.samples(dev.Info())
	small, err := measure(ctx, dev, r, samples[0])
	switch {
	case parent.Err() != nil:
		return Measured{}, parent.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return Measured{}, fmt.Errorf("one %s takes longer than %v", samples[0].of(r), limit)
	case err != nil:
		return Measured{}, err
	}
	for _, s := range slices.Backward(samples[1:]) {
		seconds := s.flops(r) / small.FlopsPerSecond * (measuredSteps + 1)
		if seconds > 0.7*time.Until(end).Seconds() {
			continue
		}
		large, err := measure(ctx, dev, r, s)
		if parent.Err() != nil {
			return Measured{}, parent.Err()
		}
		if err == nil {
			return large, nil
		}
		if !errors.Is(err, engine.ErrOutOfMemory) {
			break // the small one counts: there is no time left, or no such kernel
		}
	}
	return small, nil
}

// samples are steps of growing size, the last the recipe's own, as far as the device has
// memory for them.
func (r Recipe) samples(info engine.Info) []sample {
	text := r.Text
	s := sample{1, min(text.VocabSize, firstVocabulary), 1, min(r.SeqLen, firstTokens)}
	all := []sample{s}
	for s != (sample{text.NumHiddenLayers, text.VocabSize, r.BatchSize, r.SeqLen}) {
		switch {
		case s.tokens < r.SeqLen:
			s.tokens = min(2*s.tokens, r.SeqLen)
		case s.rows < r.BatchSize:
			s.rows = min(2*s.rows, r.BatchSize)
		default:
			s.layers = min(2*s.layers, text.NumHiddenLayers)
			s.vocabulary = max(s.vocabulary, text.VocabSize*s.layers/text.NumHiddenLayers)
		}
		if s.bytes(r) > measuredMemory(info) {
			break
		}
		all = append(all, s)
	}
	return all
}

// measuredMemory is what a measurement may take of a device's memory.
func measuredMemory(info engine.Info) int64 {
	const unknown, most = 1 << 30, 8 << 30
	if info.Memory == 0 {
		return unknown
	}
	return min(info.Memory/3, most)
}

// recipe is the sample's own.
func (s sample) recipe(r Recipe) Recipe {
	text := *r.Text
	text.NumHiddenLayers, text.VocabSize = s.layers, s.vocabulary
	r.Text = &text
	return r
}

// parameters counts the sample's matrices of the decoder.
func (s sample) parameters(r Recipe) float64 {
	t := r.Text
	layer := t.HiddenSize * (2*t.HeadDim*(t.NumAttentionHeads+t.NumKeyValueHeads) + 3*t.IntermediateSize)
	return float64(s.layers*layer + s.vocabulary*t.HiddenSize)
}

// flops is about what its step takes: two operations for each weight and token forward,
// four backward.
func (s sample) flops(r Recipe) float64 { return 6 * s.parameters(r) * float64(s.rows*s.tokens) }

// bytes is about the memory that its step takes: weights, gradients and moments, and for
// each token what its layers keep and the logits with their gradient.
func (s sample) bytes(r Recipe) int64 {
	t := r.Text
	token := s.layers*(12*t.HiddenSize+4*t.IntermediateSize) + 3*s.vocabulary
	return int64(16*s.parameters(r)) + 4*int64(s.rows*s.tokens)*int64(token)
}

// of says what a sample is of a recipe's step.
func (s sample) of(r Recipe) string {
	layers := ""
	if s.layers < r.Text.NumHiddenLayers {
		layers = fmt.Sprintf(" with %d of %d layers", s.layers, r.Text.NumHiddenLayers)
	}
	return fmt.Sprintf("step of %d×%d tokens in %s%s", s.rows, s.tokens, r.DType, layers)
}

// measure takes steps of a sample, and returns the rate of the median.
func measure(ctx context.Context, dev engine.Device, r Recipe, s sample) (Measured, error) {
	b, err := NewBench(dev, s.recipe(r), s.rows, s.tokens)
	if err != nil {
		return Measured{}, err
	}
	defer b.Close()
	if _, _, err := b.Step(ctx); err != nil {
		return Measured{}, err
	}
	var times []time.Duration
	for range measuredSteps {
		elapsed, _, err := b.Step(ctx)
		if err != nil && len(times) == 0 {
			return Measured{}, err
		}
		if err != nil {
			break
		}
		times = append(times, elapsed)
	}
	slices.Sort(times)
	return Measured{b.Flops / times[len(times)/2].Seconds(), s.of(r)}, nil
}
