package vlm

import (
	"context"
	"errors"
	"path/filepath"

	"patchwork/vlm/chat"
)

// validate computes the mean loss of the held-out rows and answers a few of
// their questions.
func (t *trainer) validate(ctx context.Context) error {
	var sum float64
	var targets int
	_, err := t.val.epoch(0, 0, func(b *FedBatch) bool {
		nll, _, err := t.stepper.Evaluate(ctx, b.Batch, b.Pixels)
		if err != nil {
			return false
		}
		for _, v := range nll {
			sum += float64(v)
		}
		targets += len(nll)
		return true
	})
	if err != nil || targets == 0 || ctx.Err() != nil {
		return err
	}
	m := ValMetrics{t.state.Step, sum / float64(targets)}
	t.valLoss = m.ValLoss
	t.stepper.Free() // the generator takes the place of the activations
	samples, err := t.samples(ctx)
	if err != nil {
		return err
	}
	if t.Observe.Validation != nil {
		t.Observe.Validation(m, samples)
	}
	if err := t.metrics.validation(m); err != nil {
		return err
	}
	t.plot()
	return nil
}

// plot draws loss.png. A picture is not worth a run: where it cannot be drawn,
// that is said once.
func (t *trainer) plot() {
	err := plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics)
	if err != nil && !t.unplotted {
		t.unplotted = true
		t.note("loss.png cannot be drawn: %v", err)
	}
}

// samples answers the first question of three held-out rows.
func (t *trainer) samples(ctx context.Context) ([]Sample, error) {
	g := NewGenerator(&Loaded{t.model, t.language, t.Device})
	defer g.Free()
	var out []Sample
	for _, i := range thin(t.val.rows, 3) {
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
		prompt, err := t.language.Prompt(chat.Conversation{Turns: []chat.Turn{{User: turn.User}}, Images: len(pictures)}, nil)
		if err != nil {
			return nil, err
		}
		got, err := g.Generate(ctx, prompt, pictures, GenerateOptions{MaxNewTokens: 48})
		var long *ContextError
		if errors.As(err, &long) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Sample{
			Question: turn.User, Truth: turn.Assistant, Answer: t.language.Tokenizer.Decode(got.IDs, true),
			Size: t.val.vision.ImageSize, Pictures: pictures,
		})
	}
	return out, nil
}
