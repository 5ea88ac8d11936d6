package train

import (
	"context"
	"errors"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// validate computes the mean loss of the held-out rows and answers a few of
// their questions.
func (t *trainer) validate(ctx context.Context) error {
	var sum float64
	var targets int
	var failed error
	_, err := t.val.epoch(ctx, 0, 0, func(b *Batch) bool {
		var nll []float32
		if nll, _, failed = t.trainStep.Evaluate(ctx, b.Batch, b.Pixels); failed != nil {
			return false
		}
		for _, v := range nll {
			sum += float64(v)
		}
		targets += len(nll)
		return true
	})
	if err = errors.Join(err, failed); err != nil || ctx.Err() != nil {
		return err
	}
	if targets == 0 {
		t.state.ValStep = t.state.Step
		return nil
	}
	m := ValMetrics{Step: t.state.Step, ValLoss: sum / float64(targets)}
	if m.Samples, err = t.samples(ctx); err != nil {
		return err
	}
	if t.Observe.Validation != nil {
		t.Observe.Validation(m)
	}
	t.logged(t.metrics.validation(m))
	t.warnOverfit(m)
	t.state.ValStep, t.state.ValLoss = m.Step, jsonfloat.Float(m.ValLoss)
	t.plot()
	return nil
}

// plot draws loss.png. A picture is not worth a run: where it cannot be drawn, that is
// said once.
func (t *trainer) plot() {
	err := plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics)
	if err != nil && !t.unplotted {
		t.warn("loss.png cannot be drawn: %v; the next validation tries again", err)
	}
	t.unplotted = err != nil
}

const (
	sampleRows   = 3  // held-out rows that are asked at a validation
	sampleTokens = 48 // longest answer
)

// samples asks a question of some held-out rows. The generator keeps its programs from
// one validation to the next, beside those of the steps; where there is no memory for
// both, each is freed for the other.
func (t *trainer) samples(ctx context.Context) ([]Sample, error) {
	if t.generator == nil {
		t.generator = generate.New(&vlm.Runner{Model: t.model, Processor: t.processor, Device: t.Device})
	}
	if t.crowded {
		t.trainStep.Free()
	}
	out, err := t.ask(ctx, t.generator)
	if errors.Is(err, engine.ErrOutOfMemory) && !t.crowded {
		t.crowded = true
		t.generator.Free()
		t.trainStep.Free()
		out, err = t.ask(ctx, t.generator)
	}
	if t.crowded {
		t.generator.Free()
	}
	return out, err
}

func (t *trainer) ask(ctx context.Context, g *generate.Generator) ([]Sample, error) {
	g.Forget() // the weights are others than at the last validation
	var out []Sample
	for _, i := range thin(t.val.rows, sampleRows) {
		row, err := t.val.dataset.Row(i)
		if err != nil {
			return nil, err
		}
		pictures, err := t.val.pictures(i)
		if err != nil {
			return nil, err
		}
		turns := row.Answered()
		if pictures == nil || len(turns) == 0 {
			continue
		}
		turn := turns[t.state.Step/max(1, t.Recipe.ValEvery)%len(turns)]
		prompt, err := t.processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: turn.User}}, Images: len(pictures)}, nil)
		if err != nil {
			return nil, err
		}
		got, err := g.Generate(ctx, prompt, pictures, generate.Options{MaxNewTokens: sampleTokens})
		var long *generate.ContextError
		var notFinite *generate.NotFiniteError
		if errors.As(err, &long) || errors.As(err, &notFinite) { // the losses tell of the latter
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Sample{
			Row: i, Question: turn.User, Truth: turn.Assistant, Answer: t.processor.Tokenizer.Decode(got.IDs, true),
			Size: t.val.vision.ImageSize, Pictures: pictures,
		})
	}
	return out, nil
}

// restorePictures gives samples of earlier validations their pictures again, which
// metrics.jsonl does not hold. Where there are none any more, a sample is its words.
func (t *trainer) restorePictures(earlier []ValMetrics) error {
	pictures := map[int][][]byte{}
	for _, i := range thin(t.val.rows, sampleRows) {
		if len(earlier) == 0 {
			break
		}
		var err error
		if pictures[i], err = t.val.pictures(i); err != nil {
			return err
		}
	}
	for _, m := range earlier {
		for i := range m.Samples {
			s := &m.Samples[i]
			s.Size, s.Pictures = t.val.vision.ImageSize, pictures[s.Row]
		}
	}
	return nil
}
