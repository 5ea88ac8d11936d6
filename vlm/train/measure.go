package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
)

// Throughput is the measured speed of training steps on a device.
type Throughput struct {
	FlopsPerSecond float64
	Workload       string // description of the measured step
}

// benchSize is the size of a measured step, at most that of the recipe's.
type benchSize struct{ layers, vocabulary, rows, tokens int }

// The smallest size, which takes moments on every device.
const (
	smallestTokens     = 256
	smallestVocabulary = 8192
)

// timedSteps is the number of timed steps of a size, after a first one that includes compilation.
const timedSteps = 3

// MeasureStep measures training steps on a device for about the given time: a small step, then the
// largest one, up to the recipe's own, that time and memory allow. Small steps underestimate the
// throughput, as the optimizer is a larger part of them.
func MeasureStep(parent context.Context, dev engine.Device, r Recipe, limit time.Duration) (Throughput, error) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	end := time.Now().Add(limit)
	sizes := r.benchSizes(dev.Info())
	small, err := measure(ctx, dev, r, sizes[0])
	switch {
	case parent.Err() != nil:
		return Throughput{}, parent.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return Throughput{}, fmt.Errorf("one %s takes longer than %v", sizes[0].describe(r), limit)
	case err != nil:
		return Throughput{}, err
	}
	for _, s := range slices.Backward(sizes[1:]) {
		seconds := s.flops(r) / small.FlopsPerSecond * (timedSteps + 1)
		if seconds > 0.7*time.Until(end).Seconds() {
			continue
		}
		large, err := measure(ctx, dev, r, s)
		if parent.Err() != nil {
			return Throughput{}, parent.Err()
		}
		if err == nil {
			return large, nil
		}
		if !errors.Is(err, engine.ErrOutOfMemory) {
			break // keep the small result: out of time, or a kernel is not supported
		}
	}
	return small, nil
}

// benchSizes returns steps of growing size, up to the recipe's own or the device's memory.
func (r Recipe) benchSizes(info engine.Info) []benchSize {
	text := r.Text
	s := benchSize{1, min(text.VocabSize, smallestVocabulary), 1, min(r.SeqLen, smallestTokens)}
	all := []benchSize{s}
	for s != (benchSize{text.NumHiddenLayers, text.VocabSize, r.BatchSize, r.SeqLen}) {
		switch {
		case s.tokens < r.SeqLen:
			s.tokens = min(2*s.tokens, r.SeqLen)
		case s.rows < r.BatchSize:
			s.rows = min(2*s.rows, r.BatchSize)
		default:
			s.layers = min(2*s.layers, text.NumHiddenLayers)
			s.vocabulary = max(s.vocabulary, text.VocabSize*s.layers/text.NumHiddenLayers)
		}
		if s.bytes(r) > benchMemory(info) {
			break
		}
		all = append(all, s)
	}
	return all
}

// benchMemory returns the bytes that a measurement may take on a device.
func benchMemory(info engine.Info) int64 {
	const unknown, limit = 1 << 30, 8 << 30
	if info.Memory == 0 {
		return unknown
	}
	return min(info.Memory/3, limit)
}

// scaled returns the recipe with the layers and vocabulary of the size.
func (s benchSize) scaled(r Recipe) Recipe {
	text := *r.Text
	text.NumHiddenLayers, text.VocabSize = s.layers, s.vocabulary
	r.Text = &text
	return r
}

// parameters counts the weights of the decoder's matmuls.
func (s benchSize) parameters(r Recipe) float64 {
	t := r.Text
	weights := s.vocabulary * t.HiddenSize
	for i := range s.layers {
		l := t.Layer(i)
		keys := 2 // and values
		if l.KeysAsValues {
			keys = 1
		}
		weights += t.HiddenSize * (l.HeadDim*(2*l.Heads+keys*l.KVHeads) + 3*t.IntermediateSize)
	}
	return float64(weights)
}

// flops estimates a step: two operations per weight and token forward, four backward.
func (s benchSize) flops(r Recipe) float64 { return 6 * s.parameters(r) * float64(s.rows*s.tokens) }

// bytes estimates the memory of a step: weights, gradients and moments, and per token the
// activations and the logits with their gradient.
func (s benchSize) bytes(r Recipe) int64 {
	t := r.Text
	token := s.layers*(12*t.HiddenSize+4*t.IntermediateSize) + 3*s.vocabulary
	return int64(16*s.parameters(r)) + 4*int64(s.rows*s.tokens)*int64(token)
}

// describe describes the size in terms of the recipe's step.
func (s benchSize) describe(r Recipe) string {
	layers := ""
	if s.layers < r.Text.NumHiddenLayers {
		layers = fmt.Sprintf(" with %d of %d layers", s.layers, r.Text.NumHiddenLayers)
	}
	return fmt.Sprintf("step of %d×%d tokens in %s%s", s.rows, s.tokens, r.DType, layers)
}

// measure times steps of a size and returns the throughput of the median.
func measure(ctx context.Context, dev engine.Device, r Recipe, s benchSize) (Throughput, error) {
	b, err := NewBench(dev, s.scaled(r), s.rows, s.tokens)
	if err != nil {
		return Throughput{}, err
	}
	defer b.Close()
	if _, _, err := b.Step(ctx); err != nil {
		return Throughput{}, err
	}
	var times []time.Duration
	for range timedSteps {
		elapsed, _, err := b.Step(ctx)
		if err != nil && len(times) == 0 {
			return Throughput{}, err
		}
		if err != nil {
			break
		}
		times = append(times, elapsed)
	}
	slices.Sort(times)
	return Throughput{b.Flops / times[len(times)/2].Seconds(), s.describe(r)}, nil
}
