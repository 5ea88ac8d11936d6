package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
)

// Options are a run's inputs and outputs.
type Options struct {
	Recipe  Recipe
	Data    []string // resolved files
	ValData []string // resolved files; nil: every HoldOut-th row of Data
	Out     string
	Model   string // a model's directory to go on from; "" = from scratch
	Decoder string // a pretrained decoder to start from, as pretrained.Open takes it; "" = none
	Resume  bool
	Keep    int // newest checkpoints that are kept, besides the best; 0 = DefaultKeep
	Device  engine.Device
	Version string
	Profile string // file for a trace of one step; "" = none
	Observe Observer
}

// Result is how a run ended.
type Result struct {
	Steps       int             `json:"steps"`
	Loss        jsonfloat.Float `json:"loss"` // of the last step
	ValLoss     jsonfloat.Float `json:"val_loss"`
	Tokens      int64           `json:"tokens"`
	Seconds     float64         `json:"seconds"`
	TokensPerS  float64         `json:"tokens_per_s"`
	RowsSkipped int             `json:"rows_skipped"`
	Device      string          `json:"device"`
	Out         string          `json:"out"`
}

// trainer is a run in progress.
type trainer struct {
	Options
	lock             *runLock
	model            *vlm.Model
	processor        *vlm.Processor
	decoder          *runDecoder // what the run started from, for run.json
	trainStep        *TrainStep
	generator        *generate.Generator // of the answers at validations; nil before the first
	crowded          bool                // the device has no memory for the stepper and the generator at once
	stats            *data.RowStats
	badRows          *data.BadRows
	train, val       *Loader
	metrics          *metricsLog
	unlogged         bool // metrics.jsonl could not be written
	unplotted        bool // loss.png could not be drawn
	saver            *saver
	saved            checkpoint.Newest[trainerState] // what a resumed run goes on from
	finished         bool
	unused           []string // settings that a finished run would have otherwise
	state            trainerState
	steps            int
	next             LoadedBatch // taken from the feed before its step
	started          int         // step that this process went on after
	frozen           bool
	rates            map[string]nn.Schedule
	nonFiniteReports int  // for what is not finite
	diverged         bool // the last step was left out, and no loss scale is to blame
	overfit          bool // that the run learns by heart has been said
	updateInFlight   bool // an update has begun and not ended: the weights are of no step
}

// Run runs a recipe to its end, or until ctx is cancelled: then it saves a
// checkpoint and returns the context's error. A run that fails on its way returns a
// *StoppedError.
func Run(ctx context.Context, o Options) (Result, error) {
	t := &trainer{Options: o, stats: data.NewRowStats(o.Observe.BadRow)}
	lock, err := lockRun(o.Out)
	if err != nil {
		return Result{}, err
	}
	defer lock.release()
	t.lock = lock
	if err := t.open(ctx); err != nil {
		t.free()
		return Result{}, errors.Join(err, t.badRows.Discard(), lock.abandon())
	}
	defer t.close()
	if t.finished {
		unused := ""
		if len(t.unused) > 0 {
			unused = "; the settings given are not used: --" + strings.Join(t.unused, ", --")
		}
		t.note("the run in %s is finished%s", t.Out, unused)
		return t.result(), nil
	}
	err = t.run(ctx)
	if err == nil {
		err = t.finish()
	}
	return t.result(), err
}

func (t *trainer) note(format string, args ...any) {
	if t.Observe.Note != nil {
		t.Observe.Note(fmt.Sprintf(format, args...))
	}
}

// warn says what went wrong on one line.
func (t *trainer) warn(format string, args ...any) {
	if t.Observe.Warn != nil {
		t.Observe.Warn(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; "))
	}
}

func (t *trainer) close() {
	t.saver.close()
	t.free()
	if err := t.metrics.close(); err != nil {
		t.warn("the last lines of metrics.jsonl are lost: %v", err)
	}
	if err := t.badRows.Close(); err != nil {
		t.warn("%s does not list all rows that were skipped: %v", data.BadRowsFile, err)
	}
}

// free gives all memory of the device back.
func (t *trainer) free() {
	if t.generator != nil {
		t.generator.Close()
	}
	if t.trainStep != nil {
		t.trainStep.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
}

func (t *trainer) run(ctx context.Context) error {
	if err := t.announce(); err != nil {
		return err
	}
	feedCtx, stop := context.WithCancel(context.Background())
	t.started = t.state.Step
	batches := t.train.Batches(feedCtx, t.state.Cursor)
	defer func() {
		stop()
		for range batches { // until the one who reads has gone
		}
	}()
	if err := t.catchUp(ctx); err != nil {
		return t.stop(ctx, err)
	}
	for t.state.Step < t.steps {
		start := time.Now()
		m, err := t.step(ctx, batches)
		if err != nil {
			return t.stop(ctx, err)
		}
		elapsed := time.Since(start).Seconds()
		t.state.Seconds += elapsed
		m.Seconds, m.TokensPerS, m.ImagesPerS = t.state.Seconds, m.TokensPerS/elapsed, m.ImagesPerS/elapsed
		m.Took, m.Skipped = elapsed, t.state.Skipped+t.trainStep.LossScale.Over
		m.Memory, m.MemoryPeak = t.Device.MemoryInUse()
		t.report(m)
		t.reportSaved(t.saver.poll())
		if err := t.periodic(ctx); err != nil {
			return t.stop(ctx, err)
		}
	}
	return nil
}

func (t *trainer) announce() error {
	e, err := t.Recipe.estimate(t.model, t.trainStep.Recompute)
	if err != nil {
		return err
	}
	if t.Observe.Start != nil {
		if err := t.restorePictures(t.metrics.val); err != nil {
			return err
		}
		t.Observe.Start(Info{
			Steps: t.steps, Done: t.state.Step, Parameters: t.model.Params.Count(),
			TokensPerStep: e.TokensPerStep, FlopsPerStep: e.FlopsPerStep,
			Rows: len(t.train.rows), ValRows: len(t.val.rows),
			Earlier: t.metrics.train, EarlierVal: t.metrics.val,
		})
	}
	return nil
}

// step takes one optimiser step. TokensPerS and ImagesPerS hold the numbers until
// the caller knows the time.
func (t *trainer) step(ctx context.Context, batches <-chan LoadedBatch) (m StepMetrics, err error) {
	if err := ctx.Err(); err != nil {
		return m, err
	}
	if freeze := t.state.Step < t.Recipe.FreezeDecoderSteps; freeze != t.frozen {
		t.frozen = freeze
		t.trainStep.Freeze(freeze)
	}
	group, targets, err := t.collect(ctx, batches)
	if err != nil {
		return StepMetrics{}, err
	}
	// The first step compiles, the second is as good as any.
	if profile := t.Profile != "" && t.state.Step == t.started+1; profile {
		t.trainStep.Trace()
		defer func() { err = errors.Join(err, WriteTrace(t.Profile, t.trainStep.Traced())) }()
	}
	m = StepMetrics{Step: t.state.Step + 1}
	tokens := 0
	sums := make([][1]float32, len(group))
	for i, b := range group {
		if err := t.trainStep.StartForwardBackward(ctx, b.Batch, b.Pixels, 1/float64(targets), i == 0, &sums[i]); err != nil {
			return m, err
		}
		tokens += b.Tokens
		m.ImagesPerS += float64(len(b.Images))
	}
	if err := ctx.Err(); err != nil {
		return m, err
	}
	// An update that has begun is carried through: half of one is no step's weights.
	t.updateInFlight = true
	norm, err := t.trainStep.Update(context.WithoutCancel(ctx), func(group string) (float64, int) { return t.rate(group, m.Step) }, func() error { return t.uploadNext(batches) })
	if err != nil {
		return m, err
	}
	for _, sum := range sums {
		m.Loss += jsonfloat.Float(float64(sum[0]) / float64(targets))
	}
	t.updateInFlight, m.GradNorm = false, jsonfloat.Float(norm)
	if err := t.checkStep(ctx, m); err != nil {
		return m, err
	}
	t.state.Step, t.state.Cursor = m.Step, group[len(group)-1].Next
	t.state.Tokens += int64(tokens)
	m.Tokens, m.TokensPerS = t.state.Tokens, float64(tokens)
	m.LR, _ = t.rate(vlm.GroupDecoder, m.Step)
	return m, nil
}

// checkStep counts a step that the optimiser left out because its gradients were not
// finite, and ends a run that has too many.
func (t *trainer) checkStep(ctx context.Context, m StepMetrics) error {
	overflowed := t.trainStep.LossScale.Update(float64(m.GradNorm))
	if t.diverged = !finite(float64(m.GradNorm)) && !overflowed; finite(float64(m.GradNorm)) {
		return nil
	}
	t.leaveOut(m.Step)
	switch {
	case overflowed:
		t.note("step %d: the gradients overflow f16; the step is left out, the next ones are scaled by %g", m.Step, t.trainStep.LossScale.Scale)
		return nil
	}
	where := ""
	if t.nonFiniteReports < maxNonFiniteReports {
		t.nonFiniteReports++
		where = t.trainStep.NonFinite(ctx)
	}
	if t.state.Skipped++; t.state.Skipped > maxSkipped {
		return fmt.Errorf("step %d: the gradients are not finite, for the %dth time%s; a lower --lr would help", m.Step, t.state.Skipped, where)
	}
	t.note("step %d: the gradients are not finite%s; the step is left out", m.Step, where)
	return nil
}

// leaveOut counts a step that changed nothing for the groups that it was of.
func (t *trainer) leaveOut(step int) {
	counts := maps.Clone(t.state.LeftOut) // a checkpoint under way may hold the old ones
	if counts == nil {
		counts = map[string]int{}
	}
	for group := range t.rates {
		if _, n := t.rate(group, step); n > 0 {
			counts[group]++
		}
	}
	t.state.LeftOut = counts
}

// maxLooks is how often a run looks for the first number that is not finite, which
// costs a step and the memory of all its tensors.
const maxNonFiniteReports = 3

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// rate is a group's learning rate in a step, and how many steps the optimiser has taken
// of the group with this one: the decoder's count begins, with its warm-up, when it is no
// longer frozen, and steps that were left out moved no average (PyTorch's GradScaler does
// not count them either).
func (t *trainer) rate(group string, step int) (lr float64, n int) {
	if group == vlm.GroupDecoder {
		step -= t.Recipe.FreezeDecoderSteps
	}
	if step < 1 {
		return 0, 0
	}
	return t.rates[group].At(step), max(1, step-t.state.LeftOut[group])
}

// maxSkipped is how many steps a run may leave out.
const maxSkipped = 20

// collect takes a step's micro-batches; those without a target are passed over.
func (t *trainer) collect(ctx context.Context, batches <-chan LoadedBatch) (group []*Batch, targets int, err error) {
	for len(group) < t.Recipe.Accumulate || targets == 0 {
		fed := t.next
		t.next = LoadedBatch{}
		if fed == (LoadedBatch{}) {
			select {
			case fed = <-batches:
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			}
		}
		if fed.Err != nil {
			return nil, 0, fed.Err
		}
		if len(group) == t.Recipe.Accumulate {
			group = group[1:]
		}
		group = append(group, fed.Batch)
		targets += fed.Batch.TargetCount
	}
	return group, targets, nil
}

// uploadNext uploads the micro-batch that comes next, if it is ready, while the
// device still works on this step.
func (t *trainer) uploadNext(batches <-chan LoadedBatch) error {
	if t.state.Step+1 >= t.steps {
		return nil
	}
	select {
	case t.next = <-batches:
	default:
		return nil
	}
	if t.next.Batch == nil {
		return nil // an error, for the step that it belongs to
	}
	return t.trainStep.Upload(t.next.Batch.Batch, t.next.Batch.Pixels)
}

func (t *trainer) result() Result {
	r := Result{Steps: t.state.Step, ValLoss: t.state.ValLoss, Tokens: t.state.Tokens, Seconds: t.state.Seconds, RowsSkipped: t.stats.Bad(), Device: t.Device.Info().Device, Out: t.Out}
	if t.metrics != nil && len(t.metrics.train) > 0 {
		r.Loss = t.metrics.train[len(t.metrics.train)-1].Loss
	}
	if r.Seconds > 0 {
		r.TokensPerS = float64(r.Tokens) / r.Seconds
	}
	return r
}
