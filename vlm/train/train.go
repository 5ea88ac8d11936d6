// Package train trains models: recipes and presets, loading and packing of data, steps, validation,
// checkpoints and metrics of a run, and estimates of its cost.
package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/mpi"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/loader"
	"patchwork/vlm/pretrained"
)

// Options are a run's inputs and outputs.
type Options struct {
	Recipe  Recipe
	Data    []data.File
	ValData []data.File // nil: every HoldOut-th row of Data
	Out     string      // folder of the run; "" = it keeps no files, and no checkpoint if it is interrupted
	Model   string      // model folder to start from; "" = none
	// MMProj is llama.cpp's file of the embedders of a Gemma 4 whose decoder is Model, a GGUF file; "" = none.
	MMProj  string
	Decoder string // pretrained decoder to start from, in any form pretrained.Open reads; "" = none
	Resume  bool
	Keep    int // number of newest checkpoints to keep besides the best; 0 = DefaultKeep
	Device  engine.Device
	Version string
	Profile string   // file for a Chrome trace of one step; "" = none
	Observe Observer // of rank 0

	// Examine, unless nil, is given the model before the first step and after the last one, also if the
	// run was interrupted, by the training goroutine of rank 0.
	Examine func(ctx context.Context, step int, model *vlm.Runner) error

	// World are the ranks of the run, which all call Run with the same options; nil = this process
	// alone. Rank 0 writes the files of the run.
	World *mpi.World
	// ShardOptimizer gives each rank the moments of a part of the weights, which it updates.
	ShardOptimizer bool
}

// Result is the outcome of a run.
type Result struct {
	Steps       int             `json:"steps"`
	Loss        jsonfloat.Float `json:"loss"` // of the last step, in nats
	ValLoss     jsonfloat.Float `json:"val_loss"`
	Tokens      int64           `json:"tokens"`
	Seconds     float64         `json:"seconds"`
	TokensPerS  float64         `json:"tokens_per_s"`
	RowsSkipped int             `json:"rows_skipped"`
	Ranks       int             `json:"ranks"`
	Device      string          `json:"device"`
	Out         string          `json:"out"`
}

// trainer is the state of a run in progress.
type trainer struct {
	Options
	lock      *runLock
	job       *mpi.Channel // of the training goroutine
	interrupt func()       // cancels the run's context

	// The model and its programs.
	model     *vlm.Model
	processor *vlm.Processor
	decoder   *runDecoder         // the pretrained decoder, for run.json
	base      *pretrained.Decoder // of an adapter; nil = none
	trainStep *TrainStep
	generator *generate.Generator // answers the validation samples; nil before the first validation
	lowMemory bool                // the programs of trainStep and generator do not fit on the device together

	// The data.
	stats      *data.RowStats
	badRows    *data.BadRows
	datasets   []*data.Dataset
	train, val *loader.Loader
	next       loader.Loaded // received early by uploadNext

	// The files of the run.
	metrics        *metricsLog
	metricsFailed  bool // the last write to metrics.jsonl failed
	plotFailed     bool // the last write of loss.png failed
	saver          *saver
	restored       checkpoint.Newest[trainerState] // the checkpoint that a resumed run starts from; Dir is Out if the run is finished
	finished       bool
	unusedSettings []string // given settings that a finished run ignores

	// Progress.
	state            trainerState
	steps            int     // of the run; with --epochs an estimate until the last one
	stepsExact       bool    // steps was counted
	progress         float64 // fraction of the epochs read up to the end of the current step
	firstStep        int     // state.Step when this process started
	frozen           bool
	qat              bool                   // the weights are rounded
	rates            map[string]nn.Schedule // by learning-rate group
	nonFiniteReports int                    // number of searches for a non-finite tensor so far
	diverged         bool                   // the last step was skipped for non-finite gradients, not for a loss scale that is too large
	overfitWarned    bool                   // the overfitting warning was given
	updateInFlight   bool                   // an optimizer update has started but not finished: the weights belong to no step
}

// Run trains a recipe to its last step or until ctx is cancelled; then it saves a checkpoint and
// returns the context's error. If training fails midway the error is a *StoppedError. With several
// ranks all return an error if one has one.
func Run(ctx context.Context, o Options) (Result, error) {
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	t := &trainer{Options: o, job: o.World.Channel(stepChannel), interrupt: interrupt, stats: data.NewRowStats(o.Observe.BadRow)}
	result, err := t.runLocked(ctx)
	o.World.Fail(err)
	return result, err
}

// runLocked runs while this rank, if it writes, holds the lock of the run's folder.
func (t *trainer) runLocked(ctx context.Context) (Result, error) {
	var err error
	if t.writes() {
		t.lock, err = lockRun(t.Out)
	}
	if err := t.agree(ctx, err); err != nil {
		return Result{}, errors.Join(err, t.lock.abandon())
	}
	defer t.lock.release()
	opened := t.World.Pause() // reading weights and data takes as long as it takes
	err = t.open(ctx)
	opened()
	if err != nil {
		t.free()
		return Result{}, errors.Join(err, t.badRows.Discard(), t.lock.abandon())
	}
	defer t.close()
	if t.finished {
		unused := ""
		if len(t.unusedSettings) > 0 {
			unused = "; the settings given are not used: --" + strings.Join(t.unusedSettings, ", --")
		}
		t.note("the run in %s is finished%s", t.Out, unused)
		return t.result(), nil
	}
	if err = t.run(ctx); err == nil {
		err = t.examine(ctx)
	} else if ctx.Err() != nil && !t.updateInFlight {
		err = cmp.Or(t.examine(context.WithoutCancel(ctx)), err)
	}
	if err == nil {
		err = t.finish()
	}
	return t.result(), err
}

// examine passes the model to Options.Examine.
func (t *trainer) examine(ctx context.Context) error {
	if t.Examine == nil || !t.leads() {
		return nil
	}
	return t.Examine(ctx, t.state.Step, &vlm.Runner{Model: t.model, Processor: t.processor, Device: t.Device})
}

func (t *trainer) note(format string, args ...any) {
	if t.Observe.Note != nil {
		t.Observe.Note(fmt.Sprintf(format, args...))
	}
}

// warn reports a problem that does not end the run, on one line.
func (t *trainer) warn(format string, args ...any) {
	if t.Observe.Warn != nil {
		t.Observe.Warn(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; "))
	}
}

func (t *trainer) close() {
	t.saver.wait()
	t.free()
	if err := t.metrics.close(); err != nil {
		t.warn("the last lines of metrics.jsonl are lost: %v", err)
	}
	if err := t.badRows.Close(); err != nil {
		t.warn("%s does not list all rows that were skipped: %v", data.BadRowsFile, err)
	}
}

// free releases all memory of the run, unless the other ranks' messages may still use it.
func (t *trainer) free() {
	if t.World.Err() != nil {
		t.World.Keep(t)
		return
	}
	if t.saver != nil {
		t.saver.snapshot.Free()
	}
	if t.generator != nil {
		t.generator.Close()
	}
	if t.trainStep != nil {
		t.trainStep.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
	if t.base != nil {
		t.base.Close()
	}
	for _, d := range t.datasets {
		d.Close()
	}
}

func (t *trainer) run(ctx context.Context) error {
	if err := t.announce(); err != nil {
		return err
	}
	if err := t.examine(ctx); err != nil {
		return err
	}
	if m := t.mixing(); t.Recipe.Shuffle && m.Windows > 1 {
		t.note("shuffling: %d windows of up to %d rows of %d row groups; rows that were neighbours end up %d rows apart (median)", m.Windows, m.Rows, m.Groups, m.Median)
	}
	loaderCtx, stop := context.WithCancel(context.Background())
	t.firstStep = t.state.Step
	steps := t.train.Steps(loaderCtx, t.state.Cursor)
	defer func() {
		stop()
		for range steps { // until the loader has closed it
		}
	}()
	if err := t.startQAT(t.state.Step); err != nil {
		return t.stop(ctx, err)
	}
	if err := t.validateResumed(ctx); err != nil {
		return t.stop(ctx, err)
	}
	for t.state.Step < t.steps {
		start := time.Now()
		m, err := t.step(ctx, steps)
		if errors.Is(err, errEpochsOver) {
			t.steps = t.state.Step
			break
		}
		if err != nil {
			return t.stop(ctx, err)
		}
		elapsed := time.Since(start).Seconds()
		t.state.Seconds += elapsed
		m.Seconds, m.TokensPerS, m.ImagesPerS = t.state.Seconds, m.TokensPerS/elapsed, m.ImagesPerS/elapsed
		m.StepSeconds, m.Skipped = elapsed, t.state.Skipped+t.trainStep.LossScale.Overflows
		m.Memory, m.MemoryPeak = t.Device.MemoryInUse()
		t.World.Progress()
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
		if err := t.restoreImages(t.metrics.val); err != nil {
			return err
		}
		t.Observe.Start(Info{
			Steps: t.steps, StepsEstimated: !t.stepsExact, Done: t.state.Step, Parameters: t.model.Params.Count(),
			Ranks: t.World.Size(), TokensPerStep: e.TokensPerStep * t.World.Size(), FlopsPerStep: e.FlopsPerStep * float64(t.World.Size()),
			Rows: t.train.Rows().Len(), ValRows: t.val.Rows().Len(),
			Earlier: t.metrics.train, EarlierVal: t.metrics.val,
		})
	}
	return nil
}

// step takes one optimizer step. TokensPerS and ImagesPerS of its metrics are counts; the caller
// divides them by the elapsed time.
func (t *trainer) step(ctx context.Context, steps <-chan loader.Loaded) (m StepMetrics, err error) {
	if err := t.enterStep(t.state.Step + 1); err != nil {
		return m, err
	}
	loaded, targets, err := t.nextStep(ctx, steps)
	if err != nil {
		return m, err
	}
	// The first step includes compilation, so the second is profiled.
	if profile := t.Profile != "" && t.state.Step == t.firstStep+1; profile {
		t.trainStep.StartTrace()
		defer func() { err = errors.Join(err, WriteTrace(t.Profile, t.trainStep.StopTrace())) }()
	}
	m = StepMetrics{Step: t.state.Step + 1}
	sum, err := t.forwardBackward(ctx, loaded, targets)
	if err != nil {
		return m, err
	}
	// An update is never interrupted: after half of one the weights belong to no step.
	t.updateInFlight = true
	norm, err := t.trainStep.Update(context.WithoutCancel(ctx), func(group string) (float64, int) { return t.rate(group, m.Step) }, sum.Squares, func() error { return t.uploadNext(steps) })
	if err != nil {
		return m, err
	}
	t.updateInFlight, m.GradNorm = false, jsonfloat.Float(norm)
	m.Loss = jsonfloat.Float(sum.loss() / float64(targets))
	if err := t.checkStep(ctx, m); err != nil {
		return m, err
	}
	t.state.Step, t.state.Cursor, m.Steps = m.Step, loaded.Next, t.steps
	t.state.Tokens += sum.Tokens
	m.Tokens, m.TokensPerS, m.ImagesPerS, m.RankTokensPerS = t.state.Tokens, float64(sum.Tokens), float64(sum.Images), sum.rates
	m.LR, _ = t.rate(vlm.GroupDecoder, m.Step)
	if m.Step == 1 && t.leads() {
		return m, t.checkGradients(ctx, sum.Images, sum.Clips)
	}
	return m, nil
}

// forwardBackward computes the gradients of a step and, with several ranks, sums them.
func (t *trainer) forwardBackward(ctx context.Context, s *loader.Step, targets int) (stepTotal, error) {
	out := stepTotal{losses: make([][1]float32, len(s.Batches))}
	several := t.World.Size() > 1
	run, start := ctx, time.Now()
	if several {
		run = context.WithoutCancel(ctx) // the other ranks are in this step
	}
	for i, b := range s.Batches {
		mb := MicroBatch{b.Batch, b.Pixels, 1 / float64(targets), i == 0, i == len(s.Batches)-1}
		if err := t.trainStep.StartForwardBackward(run, mb, &out.losses[i]); err != nil {
			return out, err
		}
		out.Tokens += int64(b.Tokens)
		out.Images += int64(len(b.Images))
		out.Clips += int64(len(b.Clips))
	}
	if !several {
		return out, ctx.Err()
	}
	if err := engine.WaitFetched(t.Device); err != nil {
		return out, err
	}
	r := t.trainStep.reducer
	mine := out.stepSum
	mine.Loss, mine.Squares, mine.Seconds = out.loss(), r.ownSquares(), r.computed.Sub(start).Seconds()
	return t.sumSteps(mine)
}

// checkStep counts a step that the optimizer skipped for non-finite gradients. It returns an error
// when there were more than maxSkippedSteps.
func (t *trainer) checkStep(ctx context.Context, m StepMetrics) error {
	overflowed := t.trainStep.LossScale.Update(float64(m.GradNorm))
	if t.diverged = !m.GradNorm.Finite() && !overflowed; m.GradNorm.Finite() {
		return nil
	}
	t.countSkipped(m.Step)
	if overflowed {
		t.note("step %d: the gradients overflow f16; step skipped, loss scale lowered to %g", m.Step, t.trainStep.LossScale.Scale)
		return nil
	}
	where := ""
	if t.nonFiniteReports < maxNonFiniteReports {
		t.nonFiniteReports++
		var err error
		if where, err = t.agreeText(t.trainStep.NonFinite(ctx)); err != nil {
			return err
		}
	}
	if t.state.Skipped++; t.state.Skipped > maxSkippedSteps {
		return fmt.Errorf("step %d: the gradients are not finite%s; %d steps were skipped, a lower --lr would help", m.Step, where, t.state.Skipped)
	}
	t.note("step %d: the gradients are not finite%s; step skipped", m.Step, where)
	return nil
}

// countSkipped counts a skipped step for every learning-rate group that it would have updated.
func (t *trainer) countSkipped(step int) {
	counts := maps.Clone(t.state.SkippedByGroup) // an asynchronous save may still read the old map
	if counts == nil {
		counts = map[string]int{}
	}
	for group := range t.rates {
		if _, n := t.rate(group, step); n > 0 {
			counts[group]++
		}
	}
	t.state.SkippedByGroup = counts
}

// maxNonFiniteReports limits the searches for the first non-finite tensor in a run. A search costs
// a step and the memory of all its tensors.
const maxNonFiniteReports = 3

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// rate returns a group's learning rate in a step, and n, the number of optimizer steps of the
// group up to and including this one, for Adam's bias correction. The decoder's schedule starts
// when it is unfrozen. Skipped steps do not count, as in PyTorch's GradScaler.
func (t *trainer) rate(group string, step int) (lr float64, n int) {
	if group == vlm.GroupDecoder {
		step -= t.Recipe.FreezeDecoderSteps
	}
	if step < 1 {
		return 0, 0
	}
	schedule := t.rates[group]
	if schedule.Steps = t.scheduledSteps(step); group == vlm.GroupDecoder {
		schedule.Steps -= t.Recipe.FreezeDecoderSteps
	}
	return schedule.At(step), max(1, step-t.state.SkippedByGroup[group])
}

// maxSkippedSteps is the number of steps that a run may skip before it fails.
const maxSkippedSteps = 20

// errEpochsOver reports that the loader has no more steps.
var errEpochsOver = errors.New("the epochs are over")

// nextStep receives the next step that has targets, and returns their number, on all ranks
// together.
func (t *trainer) nextStep(ctx context.Context, steps <-chan loader.Loaded) (*loader.Step, int, error) {
	for {
		loaded, err := t.receiveStep(ctx, steps)
		targets, err := t.agreeStep(loaded, err)
		if err != nil {
			return nil, 0, err
		}
		if targets > 0 {
			t.countDown(loaded)
			return loaded, targets, nil
		}
	}
}

// receiveStep receives the next step.
func (t *trainer) receiveStep(ctx context.Context, steps <-chan loader.Loaded) (*loader.Step, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer t.World.Pause()() // data that do not come are the loader's to report
	loaded := t.next
	t.next = loader.Loaded{}
	for loaded == (loader.Loaded{}) {
		var ok bool
		select {
		case loaded, ok = <-steps:
			if !ok {
				return nil, errEpochsOver
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return loaded.Step, loaded.Err
}

// countDown estimates the number of steps of a run of epochs from how much of them is read after
// a step.
func (t *trainer) countDown(s *loader.Step) {
	if t.Recipe.Epochs == 0 {
		return
	}
	t.progress = s.Progress / float64(t.Recipe.Epochs)
	step := t.state.Step + 1
	switch {
	case s.Last:
		t.steps = step
	case !t.stepsExact || t.steps <= step:
		t.steps = max(step+1, int(math.Round(float64(step)/t.progress)))
	}
}

// scheduledSteps returns the number of steps for the learning rate's schedule in a step. With
// --epochs it follows the data that is read, and not the estimated number of steps, so that a
// resumed run has the same rates.
func (t *trainer) scheduledSteps(step int) int {
	if t.Recipe.Epochs == 0 {
		return t.steps
	}
	return max(step, int(math.Round(float64(step)/t.progress)))
}

// uploadNext uploads the next micro-batch, if it is loaded, while the device runs the current
// step.
func (t *trainer) uploadNext(steps <-chan loader.Loaded) error {
	if t.state.Step+1 >= t.steps {
		return nil
	}
	select {
	case t.next = <-steps:
	default:
		return nil
	}
	if t.next.Step == nil {
		return nil // a loader error is returned by the next step
	}
	first := t.next.Step.Batches[0]
	return t.trainStep.Upload(first.Batch, first.Pixels)
}

func (t *trainer) result() Result {
	r := Result{Steps: t.state.Step, ValLoss: t.state.ValLoss, Tokens: t.state.Tokens, Seconds: t.state.Seconds, RowsSkipped: t.stats.Bad(), Ranks: t.World.Size(), Device: t.Device.Info().Device, Out: t.Out}
	if t.metrics != nil && len(t.metrics.train) > 0 {
		r.Loss = t.metrics.train[len(t.metrics.train)-1].Loss
	}
	if r.Seconds > 0 {
		r.TokensPerS = float64(r.Tokens) / r.Seconds
	}
	return r
}
