package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/loader"
)

// validate computes the mean loss of the validation rows and answers a few of their questions.
func (t *trainer) validate(ctx context.Context) error {
	run := ctx
	if t.World.Size() > 1 {
		run = context.WithoutCancel(ctx) // the other ranks validate as well
	}
	loss, targets, err := t.validationLoss(run, func(b *loader.Batch) []byte { return b.Pixels })
	if err != nil || run.Err() != nil {
		return err
	}
	if targets == 0 {
		t.state.ValStep = t.state.Step
		return nil
	}
	m := ValMetrics{Step: t.state.Step, ValLoss: loss}
	if t.blankDue() {
		blank, ok, err := t.blankLoss(run)
		if err != nil {
			return err
		}
		if ok {
			m.BlankLoss = &blank
			t.note("step %d: the validation loss is %.4f, and %.4f with blank images and silence", m.Step, m.ValLoss, blank)
		}
	}
	t.state.ValStep, t.state.ValLoss = m.Step, jsonfloat.Float(m.ValLoss)
	if !t.leads() {
		return nil
	}
	defer t.World.Pause()()
	if m.Samples, err = t.sampleAnswers(run); err != nil {
		return err
	}
	if t.Observe.Validation != nil {
		t.Observe.Validation(m)
	}
	t.reportLogged(t.metrics.validation(m))
	t.warnOverfit(m)
	t.plot()
	return nil
}

// validationLoss returns the mean loss over the targets of the validation rows, with the pixels that
// a function returns for a batch. All ranks get the same.
func (t *trainer) validationLoss(ctx context.Context, pixels func(b *loader.Batch) []byte) (loss float64, targets int, err error) {
	var sum float64
	var failed error
	err = t.val.Epoch(ctx, 0, 0, func(s *loader.Step) bool {
		for _, b := range s.Batches {
			var nll []float32
			if nll, _, failed = t.trainStep.Evaluate(ctx, b.Batch, pixels(b)); failed != nil {
				return false
			}
			for _, v := range nll {
				sum += float64(v)
			}
			targets += len(nll)
			t.World.Progress()
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil || ctx.Err() != nil {
		return 0, 0, err
	}
	if t.World.Size() > 1 {
		if sum, targets, err = t.sumValidation(sum, targets); err != nil {
			return 0, 0, err
		}
	}
	return sum / float64(max(1, targets)), targets, nil
}

// plot draws loss.png. Failure does not end the run and is reported once.
func (t *trainer) plot() {
	if !t.writes() {
		return
	}
	err := plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics)
	if err != nil && !t.plotFailed {
		t.warn("cannot draw loss.png: %v; retrying after the next validation", err)
	}
	t.plotFailed = err != nil
}

const (
	sampleRows      = 3 // validation rows that are sampled
	maxAnswerTokens = 48
)

// sampleAnswers answers a question of some validation rows. The generator's programs stay compiled
// between validations next to those of the steps. If memory does not suffice for both, each is
// freed before the other runs.
func (t *trainer) sampleAnswers(ctx context.Context) ([]Sample, error) {
	if t.generator == nil {
		t.generator = generate.New(&vlm.Runner{Model: t.model, Processor: t.processor, Device: t.Device})
	}
	if t.lowMemory {
		t.trainStep.FreePrograms()
	}
	out, err := t.answer(ctx, t.generator)
	if errors.Is(err, engine.ErrOutOfMemory) && !t.lowMemory {
		t.lowMemory = true
		t.generator.Close()
		t.trainStep.FreePrograms()
		out, err = t.answer(ctx, t.generator)
	}
	if t.lowMemory {
		t.generator.Close()
	}
	return out, err
}

// sampledRows returns the validation rows of which questions are answered.
func (t *trainer) sampledRows() []int {
	return loader.EvenlySpaced(slices.Collect(t.val.Rows().All()), sampleRows)
}

// answer generates the samples of a validation.
func (t *trainer) answer(ctx context.Context, g *generate.Generator) ([]Sample, error) {
	g.Forget() // the weights have changed since the last validation
	var out []Sample
	for _, i := range t.sampledRows() {
		row, files, err := t.val.Row(i)
		if err != nil {
			return nil, err
		}
		turns := row.Answered()
		if files == nil || len(turns) == 0 {
			continue
		}
		turn := turns[t.state.Step/max(1, t.Recipe.ValEvery)%len(turns)]
		prompt, err := t.processor.Prompt(t.question(turn.User, files), nil)
		var alone *chat.TemplateError
		if errors.As(err, &alone) { // a question that has a place for one of the row's clips alone
			continue
		}
		if err != nil {
			return nil, err
		}
		got, err := g.Generate(ctx, prompt, files.Images, generate.Options{MaxNewTokens: maxAnswerTokens, Clips: files.Clips})
		var long *generate.ContextError
		var notFinite *generate.NotFiniteError
		if errors.As(err, &long) || errors.As(err, &notFinite) { // non-finite values show in the losses
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Sample{
			Row: i, Question: turn.User, Truth: turn.Assistant, Answer: t.processor.Tokenizer.Decode(got.IDs, true),
			Images: t.shown(files),
		})
	}
	return out, nil
}

// question is a conversation of one question about a row's images and sound.
func (t *trainer) question(text string, files *data.Prepared) chat.Conversation {
	c := chat.Conversation{Turns: []chat.Turn{{User: text}}, Images: len(files.Images)}
	c.Grids, _ = loader.Grids(t.model.Config.Vision, files.Sizes) // without an error, since the images are prepared
	for _, samples := range files.Clips {
		c.Clips = append(c.Clips, t.model.Config.Audio.Tokens(len(samples)))
	}
	return c
}

// shown are a row's images as the model sees them.
func (t *trainer) shown(files *data.Prepared) []*image.RGB {
	v := t.val.Vision
	var out []*image.RGB
	for i, pixels := range files.Images {
		grid, _ := v.ImageGrid(files.Sizes[i].Width, files.Sizes[i].Height) // without an error, since the image is prepared
		out = append(out, v.RGB(pixels, grid))
	}
	return out
}

// restoreImages adds the images to the samples of earlier validations, since metrics.jsonl does
// not hold them. A sample of a row that is no longer there stays without images.
func (t *trainer) restoreImages(earlier []ValMetrics) error {
	images := map[int][]*image.RGB{}
	for _, i := range t.sampledRows() {
		if len(earlier) == 0 {
			break
		}
		_, files, err := t.val.Row(i)
		if err != nil {
			return err
		}
		if files != nil {
			images[i] = t.shown(files)
		}
	}
	for _, m := range earlier {
		for i := range m.Samples {
			s := &m.Samples[i]
			s.Images = images[s.Row]
		}
	}
	return nil
}

// A run overfits if the validation loss rises while the training loss falls.
const (
	overfitRise   = 1.1 // validation loss relative to its minimum
	overfitGap    = 2   // validation loss relative to the training loss, plus 0.1: overfitting within a single validation
	overfitEpochs = 2   // epochs before overfitGap applies
	recentSteps   = 20  // steps in the mean training loss
)

// warnOverfit warns if a validation is worse than an earlier one, or far worse than training, and
// names the checkpoint to use.
func (t *trainer) warnOverfit(m ValMetrics) {
	train := meanLoss(t.metrics.train)
	best, found := t.bestValidation(m.Step)
	epochs := float64(t.state.Cursor.Epoch)
	rises := found && m.ValLoss > overfitRise*best.ValLoss && train < meanLoss(upTo(t.metrics.train, best.Step))
	gap := epochs >= overfitEpochs && m.ValLoss > overfitGap*train+0.1
	if !rises && !(gap && m.Step == t.steps) || t.overfitWarned && m.Step < t.steps {
		return
	}
	t.overfitWarned = true
	what := fmt.Sprintf("the validation loss is %.3f, the training loss %.3f, in epoch %d over %d rows: the model is overfitting", m.ValLoss, train, t.state.Cursor.Epoch+1, t.train.Rows().Len())
	if rises {
		what += fmt.Sprintf(". The best was %.3f after step %d", best.ValLoss, best.Step)
		if path := checkpoint.Best(checkpoint.Names(t.saver.dir)); path != "" && checkpoint.Step(path) < m.Step {
			what += ": " + filepath.Join(t.saver.dir, filepath.Base(path)) + " is the checkpoint to use"
		}
	}
	t.warn("%s. More data, fewer --steps or a larger --weight-decay would help", what)
}

// bestValidation returns the validation with the lowest loss before a step.
func (t *trainer) bestValidation(step int) (best ValMetrics, found bool) {
	for _, v := range t.metrics.val {
		if v.Step < step && finite(v.ValLoss) && (!found || v.ValLoss < best.ValLoss) {
			best, found = v, true
		}
	}
	return best, found
}

// upTo returns the metrics up to and including a step.
func upTo(steps []StepMetrics, step int) []StepMetrics {
	for len(steps) > 0 && steps[len(steps)-1].Step > step {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// meanLoss returns the mean loss of the last recentSteps steps.
func meanLoss(steps []StepMetrics) float64 {
	steps = steps[max(0, len(steps)-recentSteps):]
	sum := 0.0
	for _, s := range steps {
		sum += float64(s.Loss)
	}
	return sum / float64(max(1, len(steps)))
}

// report passes the metrics of a step to the observer and metrics.jsonl.
func (t *trainer) report(m StepMetrics) {
	if t.Observe.Step != nil {
		t.Observe.Step(m)
	}
	t.reportLogged(t.metrics.step(m))
}

// reportLogged warns when metrics.jsonl cannot be written, and notes when it can again.
func (t *trainer) reportLogged(err error) {
	switch {
	case err != nil && !t.metricsFailed:
		t.warn("%v; metrics are kept in memory until metrics.jsonl can be written", err)
	case err == nil && t.metricsFailed:
		t.note("metrics.jsonl is complete again")
	}
	t.metricsFailed = err != nil
}

// periodic validates and saves after the steps where that is due.
func (t *trainer) periodic(ctx context.Context) error {
	if t.validationDue() {
		if err := t.validate(ctx); err != nil {
			return err
		}
	}
	if t.state.Step == t.steps {
		if err := t.saveNow(); err != nil {
			return &finalSaveError{err}
		}
		return nil
	}
	if every := t.Recipe.SaveEvery; every > 0 && t.state.Step%every == 0 {
		return t.save()
	}
	return nil
}

// checkFinite returns a *checkpoint.DivergedError if the last step had a non-finite loss or
// gradient: such a state is not saved.
func (t *trainer) checkFinite() error {
	if t.diverged {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the gradients of step %d are not finite", t.state.Step)}
	}
	if n := len(t.metrics.train); n > 0 && !t.metrics.train[n-1].Loss.Finite() && t.metrics.train[n-1].Step == t.state.Step {
		return &checkpoint.DivergedError{What: fmt.Sprintf("the loss of step %d is not finite", t.state.Step)}
	}
	return nil
}

// validationDue reports whether the run validates after the current step.
func (t *trainer) validationDue() bool {
	every := t.Recipe.ValEvery
	return every > 0 && (t.state.Step%every == 0 || t.state.Step == t.steps) && t.val.Rows().Len() > 0
}

// validateResumed validates after resuming if the run was interrupted before the validation of
// that step.
func (t *trainer) validateResumed(ctx context.Context) error {
	if t.restored.Dir == "" || t.state.Format == 0 || t.state.ValStep == t.state.Step || !t.validationDue() {
		return nil
	}
	return t.validate(ctx)
}
