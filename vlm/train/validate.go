package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/checkpoint"
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
		t.trainStep.FreePrograms()
	}
	out, err := t.ask(ctx, t.generator)
	if errors.Is(err, engine.ErrOutOfMemory) && !t.crowded {
		t.crowded = true
		t.generator.Close()
		t.trainStep.FreePrograms()
		out, err = t.ask(ctx, t.generator)
	}
	if t.crowded {
		t.generator.Close()
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

// A run learns its rows by heart where the loss of held-out rows rises while that of the
// training rows falls.
const (
	overfitRise  = 1.1 // times the least validation loss
	overfitGap   = 2   // times the training loss, and 0.1 more: what one validation shows
	overfitTimes = 2   // passes over the data, before which a gap says nothing
	recentSteps  = 20  // of which the training loss is the mean
)

// warnOverfit says that a validation is worse than an earlier one, or far worse than
// training, and which checkpoint is the one to use.
func (t *trainer) warnOverfit(m ValMetrics) {
	train := meanLoss(t.metrics.train)
	best, found := t.bestValidation(m.Step)
	passes := float64(t.state.Cursor.Epoch)
	rises := found && m.ValLoss > overfitRise*best.ValLoss && train < meanLoss(upTo(t.metrics.train, best.Step))
	gap := passes >= overfitTimes && m.ValLoss > overfitGap*train+0.1
	if !rises && !(gap && m.Step == t.steps) || t.overfit && m.Step < t.steps {
		return
	}
	t.overfit = true
	what := fmt.Sprintf("the validation loss is %.3f, the training loss %.3f, in pass %d over %d rows: the model learns its rows by heart", m.ValLoss, train, t.state.Cursor.Epoch+1, len(t.train.rows))
	if rises {
		what += fmt.Sprintf(". It was best after step %d, %.3f", best.Step, best.ValLoss)
		if path := checkpoint.Best(checkpoint.Names(t.saver.dir)); path != "" && checkpoint.Step(path) < m.Step {
			what += ": " + filepath.Join(t.saver.dir, filepath.Base(path)) + " is the checkpoint to use"
		}
	}
	t.warn("%s. More data, fewer --steps or a larger --weight-decay help", what)
}

// bestValidation is the one before a step with the least loss.
func (t *trainer) bestValidation(step int) (best ValMetrics, found bool) {
	for _, v := range t.metrics.val {
		if v.Step < step && finite(v.ValLoss) && (!found || v.ValLoss < best.ValLoss) {
			best, found = v, true
		}
	}
	return best, found
}

func upTo(steps []StepMetrics, step int) []StepMetrics {
	for len(steps) > 0 && steps[len(steps)-1].Step > step {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// meanLoss is that of the newest steps.
func meanLoss(steps []StepMetrics) float64 {
	steps = steps[max(0, len(steps)-recentSteps):]
	sum := 0.0
	for _, s := range steps {
		sum += float64(s.Loss)
	}
	return sum / float64(max(1, len(steps)))
}

// report tells of a step, and writes its line of metrics.jsonl.
func (t *trainer) report(m StepMetrics) {
	if t.Observe.Step != nil {
		t.Observe.Step(m)
	}
	t.logged(t.metrics.step(m))
}

// logged says when metrics.jsonl cannot be written, and when it can again.
func (t *trainer) logged(err error) {
	switch {
	case err != nil && !t.unlogged:
		t.warn("%v; until it can be written the run keeps its metrics in memory", err)
	case err == nil && t.unlogged:
		t.note("metrics.jsonl is whole again")
	}
	t.unlogged = err != nil
}

// periodic validates and saves where the step's number asks for it.
func (t *trainer) periodic(ctx context.Context) error {
	if t.validates() {
		if err := t.validate(ctx); err != nil {
			return err
		}
	}
	if t.state.Step == t.steps {
		if err := t.saveNow(); err != nil {
			return &lastError{err}
		}
		return nil
	}
	if every := t.Recipe.SaveEvery; every > 0 && t.state.Step%every == 0 {
		return t.save()
	}
	return nil
}

// checkFinite refuses to save a run whose last step was left out: the checkpoints before
// it are the ones to go on from.
func (t *trainer) checkFinite() error {
	if t.diverged {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the gradients of step %d are not finite", t.state.Step)}
	}
	if n := len(t.metrics.train); n > 0 && !finite(float64(t.metrics.train[n-1].Loss)) && t.metrics.train[n-1].Step == t.state.Step {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the loss of step %d is not a number", t.state.Step)}
	}
	return nil
}

// validates says whether the step is one after which the run validates.
func (t *trainer) validates() bool {
	every := t.Recipe.ValEvery
	return every > 0 && (t.state.Step%every == 0 || t.state.Step == t.steps) && len(t.val.rows) > 0
}

// catchUp validates after the step that a run goes on from, where it was interrupted
// before it could.
func (t *trainer) catchUp(ctx context.Context) error {
	if t.saved.Dir == "" || t.state.Format == 0 || t.state.ValStep == t.state.Step || !t.validates() {
		return nil
	}
	return t.validate(ctx)
}
