package vlm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
)

// TrainOptions are a run's inputs and outputs.
type TrainOptions struct {
	Recipe  Recipe
	Data    []string // resolved files
	ValData []string // resolved files; nil: every HoldOut-th row of Data
	Out     string
	Model   string // a model's directory to go on from; "" = from scratch
	Resume  bool
	Device  engine.Device
	Version string
	Profile string // file for a trace of one step; "" = none
	Observe Observer
}

// Observer is told of a run's course.
type Observer struct {
	Start      func(RunInfo)
	Step       func(StepMetrics)
	Validation func(ValMetrics, []Sample)
	BadRow     func(data.Verdict)
	Note       func(string)
}

// RunInfo describes a run before its first step.
type RunInfo struct {
	Steps, Done   int
	Parameters    int64
	TokensPerStep int // places, padding included
	Rows, ValRows int
	FlopsPerStep  float64
}

// Sample is a question of the validation rows with the model's answer.
type Sample struct{ Question, Truth, Answer string }

// Result is how a run ended.
type Result struct {
	Steps       int     `json:"steps"`
	Loss        float64 `json:"loss"` // of the last step
	ValLoss     float64 `json:"val_loss"`
	Tokens      int64   `json:"tokens"`
	Seconds     float64 `json:"seconds"`
	TokensPerS  float64 `json:"tokens_per_s"`
	RowsSkipped int     `json:"rows_skipped"`
	Device      string  `json:"device"`
	Out         string  `json:"out"`
}

// trainer is a run in progress.
type trainer struct {
	TrainOptions
	lock       *runLock
	model      *Model
	language   *Language
	stepper    *Stepper
	tally      *Tally
	train, val *Feed
	metrics    *metricsLog
	state      trainerState
	steps      int
	started    int // step that this process went on after
	frozen     bool
	rates      map[string]nn.Schedule
	valLoss    float64
}

// Train runs a recipe to its end, or until ctx is cancelled: then it saves a
// checkpoint and returns the context's error.
func Train(ctx context.Context, o TrainOptions) (Result, error) {
	t := &trainer{TrainOptions: o, tally: NewTally(o.Observe.BadRow)}
	lock, err := lockRun(o.Out)
	if err != nil {
		return Result{}, err
	}
	defer lock.release()
	t.lock = lock
	if err := t.open(); err != nil {
		return Result{}, errors.Join(err, lock.abandon())
	}
	defer t.metrics.close()
	if t.state.Step >= t.steps && Finished(t.Out) {
		t.note("the run in %s is finished", t.Out)
		return t.result(), nil
	}
	err = t.run(ctx)
	if err == nil {
		err = t.finish()
	}
	return t.result(), err
}

// open reads the data's and the model's descriptions, allocates, and brings a
// checkpoint back.
func (t *trainer) open() error {
	if err := t.openData(); err != nil {
		return err
	}
	if err := t.writeRun(); err != nil {
		return err
	}
	if err := t.model.allocate(t.Device, true); err != nil {
		return err
	}
	optimizer := nn.AdamW{Beta1: t.Recipe.Beta1, Beta2: t.Recipe.Beta2, Eps: t.Recipe.Eps, WeightDecay: t.Recipe.WeightDecay, MaxNorm: t.Recipe.Clip}
	var err error
	if t.stepper, err = NewStepper(t.model, t.Device, shapeFor(t.model.Config, t.Recipe.BatchSize, t.Recipe.SeqLen), optimizer); err != nil {
		return err
	}
	if err := t.restore(); err != nil {
		return err
	}
	if t.steps, err = t.countSteps(); err != nil {
		return err
	}
	t.rates = map[string]nn.Schedule{
		GroupEmbedder: {Peak: t.Recipe.EmbedderLR, Warmup: t.Recipe.Warmup, Steps: t.steps, Floor: t.Recipe.LRFloor},
		GroupDecoder:  {Peak: t.Recipe.LR, Warmup: t.Recipe.Warmup, Steps: t.steps, Floor: t.Recipe.LRFloor},
	}
	t.metrics, err = openMetrics(filepath.Join(t.Out, "metrics.jsonl"), t.state.Step)
	return err
}

func (t *trainer) openData() error {
	train, err := data.Open(t.Data)
	if err != nil {
		return err
	}
	valSet, hold := train, t.Recipe.HoldOut
	if t.ValData != nil {
		hold = 0
		if valSet, err = data.Open(t.ValData); err != nil {
			return err
		}
	}
	held := data.HoldOut(hold)
	var rows, valRows []int
	for i := range train.Len() {
		if held(i) {
			valRows = append(valRows, i)
		} else {
			rows = append(rows, i)
		}
	}
	if t.ValData != nil {
		for i := range valSet.Len() {
			valRows = append(valRows, i)
		}
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s: there are no rows to train on", t.Data[0])
	}
	if err := t.openModel(); err != nil {
		return err
	}
	t.train = NewFeed(train, rows, t.language, t.Recipe, t.model.Config.Vision, t.tally)
	valRecipe := t.Recipe
	valRecipe.Shuffle, valRecipe.MaxBadFraction = false, 1
	t.val = NewFeed(valSet, thin(valRows, t.Recipe.ValRows), t.language, valRecipe, t.model.Config.Vision, NewTally(nil))
	return nil
}

// thin takes n of the rows, evenly spread.
func thin(rows []int, n int) []int {
	if n <= 0 || len(rows) <= n {
		return rows
	}
	var out []int
	for i := range n {
		out = append(out, rows[i*len(rows)/n])
	}
	return out
}

func (t *trainer) openModel() error {
	var err error
	if t.Model != "" {
		if t.model, t.language, err = openModel(t.Model); err != nil {
			return err
		}
		t.model.Config.Attention = t.Recipe.Attention
		return nil
	}
	if t.language, err = presetLanguage(t.Recipe.Preset, t.Recipe.Vision.Patches()); err != nil {
		return err
	}
	t.model, err = NewModel(t.Recipe.config(*t.Recipe.Text, int(t.language.ImageID())), t.Recipe.Init)
	if err == nil && t.language.Tokenizer.Len() > t.Recipe.Text.VocabSize {
		err = fmt.Errorf("the tokenizer has %d ids, vocab_size is %d", t.language.Tokenizer.Len(), t.Recipe.Text.VocabSize)
	}
	return err
}

// restore brings back the newest checkpoint of a resumed run, or the weights to
// start from.
func (t *trainer) restore() error {
	if all := checkpoints(filepath.Join(t.Out, "checkpoints")); t.Resume && len(all) > 0 {
		s, err := t.model.loadCheckpoint(t.Device, all[len(all)-1])
		if err != nil {
			return err
		}
		if info := t.Device.Info(); s.Device != info.Device || s.Driver != info.Driver {
			t.note("the checkpoint was made on %s (%s), this is %s (%s): losses may differ in their last digits", s.Device, s.Driver, info.Device, info.Driver)
		}
		t.state = s
		return nil
	}
	if t.Model != "" {
		return t.model.readTensors(t.Device, t.model.Params.Weights, filepath.Join(t.Model, weightsFile))
	}
	return t.model.Params.Initialise(t.Device, t.Recipe.Seed)
}

func (t *trainer) note(format string, args ...any) {
	if t.Observe.Note != nil {
		t.Observe.Note(fmt.Sprintf(format, args...))
	}
}

// countSteps is the run's length; epochs are counted by packing one.
func (t *trainer) countSteps() (int, error) {
	if t.Recipe.Epochs == 0 {
		return t.Recipe.Steps, nil
	}
	n, err := t.train.CountBatches(0)
	return max(1, t.Recipe.Epochs*n/t.Recipe.Accumulate), err
}

func (t *trainer) run(ctx context.Context) error {
	if err := t.announce(); err != nil {
		return err
	}
	feedCtx, stop := context.WithCancel(context.Background())
	defer stop()
	t.started = t.state.Step
	batches := t.train.Batches(feedCtx, t.state.Cursor)
	for t.state.Step < t.steps {
		start := time.Now()
		m, err := t.step(ctx, batches)
		if ctx.Err() != nil { // nothing of the interrupted step counts
			t.note("interrupted: saving a checkpoint of step %d", t.state.Step)
			return errors.Join(ctx.Err(), t.checkpoint())
		}
		if err != nil {
			return err
		}
		elapsed := time.Since(start).Seconds()
		t.state.Seconds += elapsed
		m.Seconds, m.TokensPerS, m.ImagesPerS = t.state.Seconds, m.TokensPerS/elapsed, m.ImagesPerS/elapsed
		if err := t.report(m); err != nil {
			return err
		}
		if err := t.periodic(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (t *trainer) announce() error {
	plan, _, err := planStep(t.model, t.stepper.in, true, false)
	if err != nil {
		return err
	}
	if t.Observe.Start != nil {
		t.Observe.Start(RunInfo{
			Steps: t.steps, Done: t.state.Step, Parameters: t.model.Params.Count(),
			TokensPerStep: t.Recipe.BatchSize * t.Recipe.SeqLen * t.Recipe.Accumulate,
			Rows:          len(t.train.rows), ValRows: len(t.val.rows), FlopsPerStep: float64(t.Recipe.Accumulate) * planFlops(plan),
		})
	}
	return nil
}

// step takes one optimiser step. TokensPerS and ImagesPerS hold the numbers until
// the caller knows the time.
func (t *trainer) step(ctx context.Context, batches <-chan Fed) (m StepMetrics, err error) {
	if freeze := t.state.Step < t.Recipe.FreezeDecoderSteps; freeze != t.frozen {
		t.frozen = freeze
		t.stepper.Freeze(freeze)
	}
	group, targets, err := t.collect(ctx, batches)
	if err != nil {
		return StepMetrics{}, err
	}
	// The first step compiles, the second is as good as any.
	if profile := t.Profile != "" && t.state.Step == t.started+1; profile {
		t.stepper.Trace()
		defer func() { err = errors.Join(err, WriteTrace(t.Profile, t.stepper.Traced())) }()
	}
	m = StepMetrics{Step: t.state.Step + 1}
	tokens := 0
	for i, b := range group {
		sum, _, err := t.stepper.Backward(ctx, b.Batch, b.Pixels, 1/float64(targets), i == 0)
		if err != nil {
			return m, err
		}
		m.Loss += sum / float64(targets)
		tokens += b.Tokens
		m.ImagesPerS += float64(len(b.Pictures))
	}
	m.GradNorm, err = t.stepper.Update(ctx, func(group string) (float64, int) {
		steps := m.Step
		if group == GroupDecoder {
			steps -= t.Recipe.FreezeDecoderSteps
		}
		return t.rates[group].At(m.Step), steps
	})
	if err != nil {
		return m, err
	}
	if math.IsNaN(m.GradNorm) || math.IsInf(m.GradNorm, 0) {
		if t.state.Skipped++; t.state.Skipped > maxSkipped {
			return m, fmt.Errorf("step %d: the gradients are not finite, for the %dth time; a lower --lr would help", m.Step, t.state.Skipped)
		}
		t.note("step %d: the gradients are not finite; the step is left out", m.Step)
	}
	t.state.Step, t.state.Cursor = m.Step, group[len(group)-1].Next
	t.state.Tokens += int64(tokens)
	m.Tokens, m.TokensPerS, m.LR = t.state.Tokens, float64(tokens), t.rates[GroupDecoder].At(m.Step)
	return m, nil
}

// maxSkipped is how many steps a run may leave out.
const maxSkipped = 20

// collect takes a step's micro-batches; those without a target are passed over.
func (t *trainer) collect(ctx context.Context, batches <-chan Fed) (group []*FedBatch, targets int, err error) {
	for len(group) < t.Recipe.Accumulate || targets == 0 {
		select {
		case fed := <-batches:
			if fed.Err != nil {
				return nil, 0, fed.Err
			}
			if len(group) == t.Recipe.Accumulate {
				group = group[1:]
			}
			group = append(group, fed.Batch)
			targets += fed.Batch.TargetCount
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return group, targets, nil
}

func (t *trainer) report(m StepMetrics) error {
	if t.Observe.Step != nil {
		t.Observe.Step(m)
	}
	return t.metrics.step(m)
}

// periodic validates and saves where the step's number asks for it.
func (t *trainer) periodic(ctx context.Context) error {
	last := t.state.Step == t.steps
	if every := t.Recipe.ValEvery; every > 0 && (t.state.Step%every == 0 || last) && len(t.val.rows) > 0 {
		if err := t.validate(ctx); err != nil {
			return err
		}
	}
	if every := t.Recipe.SaveEvery; every > 0 && t.state.Step%every == 0 || last {
		return t.checkpoint()
	}
	return nil
}

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
	return plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics)
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
		out = append(out, Sample{turn.User, turn.Assistant, t.language.Tokenizer.Decode(got.IDs, true)})
	}
	return out, nil
}

func (t *trainer) checkpoint() error {
	if t.state.Step == 0 {
		return nil
	}
	info := t.Device.Info()
	t.state.Device, t.state.Driver, t.state.Scale = info.Device, info.Driver, 1
	return t.model.saveCheckpoint(t.Device, t.language, filepath.Join(t.Out, "checkpoints"), t.state)
}

// finish writes the trained model into the run's folder.
func (t *trainer) finish() error {
	if err := t.tally.check(t.Recipe.MaxBadFraction, true); err != nil {
		return err
	}
	if t.Observe.Note != nil {
		t.note("data: %s", t.tally)
	}
	if err := plotLoss(filepath.Join(t.Out, "loss.png"), t.metrics); err != nil {
		return err
	}
	temp := filepath.Join(t.Out, ".model")
	if err := t.model.save(t.Device, t.language, temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(temp, e.Name()), filepath.Join(t.Out, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(os.Remove(temp), syncDir(t.Out))
}

func (t *trainer) result() Result {
	r := Result{Steps: t.state.Step, ValLoss: t.valLoss, Tokens: t.state.Tokens, Seconds: t.state.Seconds, RowsSkipped: t.tally.Bad(), Device: t.Device.Info().Device, Out: t.Out}
	if t.metrics != nil && len(t.metrics.train) > 0 {
		r.Loss = t.metrics.train[len(t.metrics.train)-1].Loss
	}
	if r.Seconds > 0 {
		r.TokensPerS = float64(r.Tokens) / r.Seconds
	}
	return r
}

// planFlops adds up the work of a plan's dispatches at their full size.
func planFlops(p *engine.Plan) float64 {
	var flops float64
	for _, d := range p.Dispatches {
		flops += d.Kernel.Cost(d.Params).Flops
	}
	return flops
}
