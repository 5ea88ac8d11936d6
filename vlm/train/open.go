package train

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/loader"
	"patchwork/vlm/pretrained"
)

// open opens the data and the model, allocates device memory, and restores the newest checkpoint
// of a resumed run. With several ranks, all return an error if one has one.
func (t *trainer) open(ctx context.Context) error {
	t.saver = &saver{dir: filepath.Join(t.Out, "checkpoints"), keep: max(1, cmp.Or(t.Keep, DefaultKeep))}
	extended, err := t.findRun(ctx)
	if err := t.agree(ctx, err); err != nil {
		return err
	}
	if err := t.agreeRun(ctx, &extended); err != nil {
		return err
	}
	if err := t.agree(ctx, t.openInputs(ctx)); err != nil {
		return err
	}
	if err := t.agreeStart(ctx); err != nil {
		return err
	}
	if t.writes() {
		err = t.prepareFolder(extended)
	}
	if err := t.agree(ctx, err); err != nil || t.finished {
		return err
	}
	if err := t.agree(ctx, t.openTraining()); err != nil {
		return err
	}
	if t.model.Params.MomentsSharded() { // saving needs the memory as well
		if err := t.reserveMoments(ctx); err != nil {
			return err
		}
		t.model.Params.FillMoments(&t.saver.snapshot)
	}
	if err := t.agree(ctx, t.restore()); err != nil {
		return err
	}
	if err := t.agreeWeights(ctx); err != nil {
		return err
	}
	t.rates = map[string]nn.Schedule{
		vlm.GroupEmbedder: {Peak: t.Recipe.EmbedderLR, Warmup: t.Recipe.Warmup, Floor: t.Recipe.LRFloor},
		vlm.GroupDecoder:  {Peak: t.Recipe.LR, Warmup: t.Recipe.Warmup, Floor: t.Recipe.LRFloor},
		vlm.GroupExperts:  {Peak: t.Recipe.LR, Warmup: t.Recipe.Warmup, Floor: t.Recipe.LRFloor},
	}
	t.metrics = &metricsLog{}
	if t.writes() {
		t.metrics, err = openMetrics(filepath.Join(t.Out, "metrics.jsonl"), t.state.Step)
	}
	t.saver.metrics = t.metrics
	return t.agree(ctx, err)
}

// findRun looks for a finished or interrupted run in the folder, on the rank that writes it.
// extended is true for a finished run that is given more steps.
func (t *trainer) findRun(ctx context.Context) (extended bool, err error) {
	if !t.writes() || !t.Resume {
		return false, nil
	}
	extended = Finished(t.Out) && t.extendsRun()
	if t.finished = Finished(t.Out) && !extended; t.finished {
		t.restored.Dir = t.Out
		return false, nil
	}
	if t.restored, err = checkpoint.NewestGood[trainerState](ctx, t.saver.dir); err != nil {
		return false, err
	}
	if s := &t.restored.State; s.Cursor.Batch > 0 {
		s.Cursor = loader.Cursor{Epoch: s.Cursor.Epoch, Row: s.Cursor.Batch * t.Recipe.BatchSize}
		t.note("%s is of a version that read the rows in another order: epoch %d continues at packed row %d of the new order",
			filepath.Base(t.restored.Dir), s.Cursor.Epoch+1, s.Cursor.Row+1)
	}
	if extended && t.restored.Dir == "" {
		return false, fmt.Errorf("%s: the run is finished and has no checkpoints to continue from; start a new run from its model: --model %s --out ANOTHER", t.Out, t.Out)
	}
	return extended, nil
}

// openInputs opens the data and the model, and counts the steps.
func (t *trainer) openInputs(ctx context.Context) error {
	if err := t.openData(ctx); err != nil {
		return err
	}
	if err := t.checkRanks(); err != nil {
		return err
	}
	if t.restored.Dir == "" {
		if err := t.train.CheckSeqLen(); err != nil {
			return err
		}
	}
	if t.finished {
		return nil
	}
	var err error
	if t.steps, t.stepsExact, err = t.countSteps(ctx); err != nil {
		return err
	}
	if t.Recipe.Epochs > 0 {
		t.steps = max(t.steps, t.restored.State.Step+1)
	} else if t.steps < t.restored.State.Step {
		return fmt.Errorf("--steps %d: the run in %s has already taken %d steps; give more steps, or use its checkpoint", t.steps, t.Out, t.restored.State.Step)
	}
	return nil
}

// prepareFolder writes run.json and removes what an earlier run has left.
func (t *trainer) prepareFolder(extended bool) error {
	if err := t.writeRun(); err != nil {
		return err
	}
	if t.finished {
		return t.openFinished()
	}
	if extended { // model.safetensors marks a finished run; the checkpoint has the weights too
		if err := t.removeResult(); err != nil {
			return err
		}
	}
	return t.removeLeftovers()
}

// openTraining allocates the memory of training.
func (t *trainer) openTraining() error {
	if t.Recipe.frozenThroughout() {
		t.model.Params.Untrained(vlm.GroupDecoder)
	}
	t.useOptimizer()
	if err := t.openBase(); err != nil {
		return err
	}
	if err := t.Recipe.store(t.model); err != nil {
		return err
	}
	chunks, err := t.divideGradients()
	if err != nil {
		return err
	}
	if err := t.model.Allocate(t.Device, true); err != nil {
		return err
	}
	if t.trainStep, err = NewTrainStep(t.model, t.Device, shapeFor(t.model.Config, t.Recipe.BatchSize, t.Recipe.SeqLen), t.Recipe.optimizer()); err != nil {
		return err
	}
	if t.trainStep.reducer, err = newReducer(t.World, t.model.Params, t.Device, chunks, t.ShardOptimizer); err != nil {
		return err
	}
	t.trainStep.AttentionDensity = t.Recipe.expectedBatch().attentionDensity
	t.trainStep.Recompute, err = t.recompute()
	return err
}

// useOptimizer prepares the parameters for the recipe's optimizer: Muon trains the matrices that start
// from random numbers.
func (t *trainer) useOptimizer() {
	switch {
	case t.Model != "" && t.Recipe.Optimizer == OptimizerMuon:
		t.note("no weight starts from random numbers: AdamW trains all of them")
	case t.Decoder != "":
		t.Recipe.useOptimizer(t.model, vlm.GroupEmbedder)
	default:
		t.Recipe.useOptimizer(t.model, vlm.GroupEmbedder, vlm.GroupExperts, vlm.GroupDecoder)
	}
}

// extendsRun reports whether a finished run is given more steps or epochs than it took.
func (t *trainer) extendsRun() bool {
	saved, err := readRun(t.Out)
	if err != nil {
		return false // writeRun reports the error
	}
	return t.Recipe.Steps > saved.Recipe.Steps && t.Recipe.Epochs == 0 || t.Recipe.Epochs > saved.Recipe.Epochs
}

// openFinished restores the final state of a finished run from its metrics.
func (t *trainer) openFinished() error {
	var err error
	if t.metrics, err = openMetrics(filepath.Join(t.Out, "metrics.jsonl"), math.MaxInt); err != nil {
		return err
	}
	if n := len(t.metrics.train); n > 0 { // checkpoints may have been deleted
		last := t.metrics.train[n-1]
		t.state.Step, t.state.Tokens, t.state.Seconds = last.Step, last.Tokens, last.Seconds
	}
	if n := len(t.metrics.val); n > 0 {
		t.state.ValLoss = jsonfloat.Float(t.metrics.val[n-1].ValLoss)
	}
	return nil
}

// recompute decides whether to use activation checkpointing.
func (t *trainer) recompute() (bool, error) {
	if t.Recipe.Recompute != "auto" {
		return t.Recipe.Recompute == "on", nil
	}
	kept, err := t.Recipe.estimate(t.model, false)
	available := t.Device.Info().Memory
	if err != nil || available > 0 && kept.MemoryBytes.Fits(available) {
		return false, err
	}
	recomputed, err := t.Recipe.estimate(t.model, true)
	if err != nil {
		return false, err
	}
	if available == 0 {
		t.note("keeping activations: training takes %s, with --recompute on %s, and %s does not report its memory",
			engine.Bytes(kept.MemoryBytes.Total), engine.Bytes(recomputed.MemoryBytes.Total), t.Device.Info().Device)
		return false, nil
	}
	t.note("recomputing activations: training would take %s with all of them kept, takes %s now, and the device has %s; --recompute off keeps them",
		engine.Bytes(kept.MemoryBytes.Total), engine.Bytes(recomputed.MemoryBytes.Total), engine.Bytes(available))
	return true, nil
}

func (t *trainer) openData(ctx context.Context) error {
	train, err := data.Open(ctx, t.Data)
	if err != nil {
		return err
	}
	t.datasets = append(t.datasets, train)
	valSet, hold := train, t.Recipe.HoldOut
	if t.ValData != nil {
		hold = 0
		if valSet, err = data.Open(ctx, t.ValData); err != nil {
			return err
		}
		t.datasets = append(t.datasets, valSet)
	}
	held := data.HoldOut(hold)
	var rows data.RowSet
	var valRows []int
	for i := range train.Len() {
		if held(i) {
			valRows = append(valRows, i)
		} else {
			rows.Add(i)
		}
	}
	if t.ValData != nil {
		for i := range valSet.Len() {
			valRows = append(valRows, i)
		}
	}
	if rows.Len() == 0 {
		return fmt.Errorf("%s: no rows to train on", t.Data[0].Name())
	}
	hasImages, err := train.HasImages(data.ImageSearchRows)
	if err != nil {
		return err
	}
	hasSound, err := train.HasSound(data.ImageSearchRows)
	if err != nil {
		return err
	}
	if !hasImages && !hasSound {
		t.warn("no row of the data has an image or sound: the model is trained on text only")
	}
	if err := t.openModel(); err != nil {
		return err
	}
	if !t.processor.LearnsToStop() {
		t.warn("the chat template ends answers with no token: the model cannot learn to stop, and its answers will run to --max-new-tokens")
	}
	if t.World.Size() > 1 {
		t.stats.Share()
	}
	valStats := data.NewRowStats(nil)
	if t.writes() {
		if t.badRows, err = data.OpenBadRows(filepath.Join(t.Out, data.BadRowsFile)); err != nil {
			return err
		}
		t.stats.ListTo(t.badRows, train)
		valStats.ListTo(t.badRows, valSet)
	}
	c := t.Recipe.loaderConfig(t.model.Config.Vision, t.model.Config.Audio)
	if t.Device.Info().Hardware() {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	ofVal := c
	c.Part, ofVal.Part = t.part(loaderChannel), t.part(validationChannel)
	if err := t.openIndex(train, &c); err != nil {
		return err
	}
	t.train = loader.New(train, &rows, t.processor, c, t.stats)
	ofVal.Shuffle, ofVal.MaxBadFraction, ofVal.Accumulate, ofVal.Epochs, ofVal.Keep = data.Shuffle{}, 1, 1, 1, true
	ofVal.Flip, ofVal.Perturb = false, false
	t.val = loader.New(valSet, validationRows(valSet, valRows, t.Recipe.ValRows), t.processor, ofVal, valStats)
	return t.checkShuffle()
}

// mixing measures how far the first epoch mixes the rows.
func (t *trainer) mixing() data.Mixing {
	return t.train.Dataset().Order(t.train.Rows(), t.train.Shuffle, 0).Mixing()
}

// checkShuffle returns an error if all rows are to be mixed and do not fit into the host's memory.
func (t *trainer) checkShuffle() error {
	if !t.Recipe.Shuffle || t.Recipe.ShuffleBuffer != data.AllRows {
		return nil
	}
	m := t.mixing()
	if free := freeHostMemory(); free > 0 && m.Bytes > free/2 {
		return fmt.Errorf("--shuffle-buffer all: the rows take %s, more than half of the free memory (%s); give a number of rows", engine.Bytes(m.Bytes), engine.Bytes(free))
	}
	return nil
}

// openIndex opens the index of the training data's lengths.
func (t *trainer) openIndex(train *data.Dataset, c *loader.Config) error {
	fingerprint, err := t.processor.Fingerprint()
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s %d %s", fingerprint, t.Recipe.SeqLen, t.Recipe.Turns)
	if a := t.model.Config.Audio; !a.None() {
		key += fmt.Sprintf(" %d %d %d", a.SampleRate, a.FrameSize, a.Hop())
	}
	if v := t.model.Config.Vision; v.KeepsAspect() {
		key += fmt.Sprintf(" keep %d %d %d", v.PatchSize, v.MaxPatches, v.MaxGrid)
	}
	c.Index = data.OpenIndex(train, key)
	c.IndexError = func(err error) {
		t.warn("the index of the data's lengths cannot be written (%v): resuming and counting steps will take longer", err)
	}
	return nil
}

// validationGroups limits the row groups that a validation reads: a group of photographs may
// have a hundred megabytes.
const validationGroups = 32

// validationRows returns n of the rows, evenly spaced, from at most validationGroups row groups;
// all of them if n is 0 or there are not more.
func validationRows(d *data.Dataset, rows []int, n int) *data.RowSet {
	var set data.RowSet
	chosen := loader.EvenlySpaced(rows, n)
	if len(chosen) < len(rows) {
		var groups []int
		for _, row := range rows {
			if g := d.RowGroup(row); len(groups) == 0 || groups[len(groups)-1] != g {
				groups = append(groups, g)
			}
		}
		if groups = loader.EvenlySpaced(groups, validationGroups); len(groups) == validationGroups {
			chosen = loader.EvenlySpaced(slices.DeleteFunc(rows, func(row int) bool {
				_, found := slices.BinarySearch(groups, d.RowGroup(row))
				return !found
			}), n)
		}
	}
	for _, row := range chosen {
		set.Add(row)
	}
	return &set
}

// openModel opens the model and processor that the run starts from: a model folder, a pretrained
// decoder, or the preset.
func (t *trainer) openModel() error {
	var err error
	if t.Model != "" {
		if t.model, t.processor, err = t.openStart(); err != nil {
			return err
		}
		t.Recipe = t.Recipe.withModel(t.model.Config)
		if t.model.Config.Vision.SameButTokens(t.Recipe.Vision) {
			t.model.Config.Vision = t.Recipe.Vision
		}
		t.model.Config.Attention, t.model.Config.Turns = t.Recipe.Attention, t.Recipe.Turns
		return t.adaptModel()
	}
	if t.Decoder != "" {
		return t.openDecoder()
	}
	if t.Recipe.Adapter != nil {
		_, err := t.basePath()
		return err
	}
	if t.processor, err = t.Recipe.hear(pretrained.PresetProcessor(t.Recipe.Preset, t.Recipe.Vision.Patches())); err != nil {
		return err
	}
	t.model, err = vlm.NewModel(t.Recipe.configOf(*t.Recipe.Text, t.processor), t.Recipe.Init)
	if err == nil && t.processor.Tokenizer.Len() > t.Recipe.Text.VocabSize {
		err = fmt.Errorf("the tokenizer has %d ids, vocab_size is %d", t.processor.Tokenizer.Len(), t.Recipe.Text.VocabSize)
	}
	return err
}

// restore loads the checkpoint of a resumed run, or the initial weights, on rank 0.
func (t *trainer) restore() error {
	if t.base != nil {
		if err := t.loadBase(); err != nil {
			return err
		}
	}
	if !t.leads() { // rank 0 sends them
		t.state, t.trainStep.LossScale = t.restored.State, t.restored.State.LossScale
		return nil
	}
	if t.restored.Dir != "" {
		return t.restoreCheckpoint()
	}
	if t.base != nil {
		return nil
	}
	if t.Model != "" {
		return t.loadStart()
	}
	initialise := func() error { return t.model.Params.Initialise(t.Device, t.Recipe.Seed) }
	if t.Decoder != "" {
		initialise = t.loadDecoder
	}
	if err := initialise(); err != nil {
		return err
	}
	return t.model.CopyExperts(t.Device)
}

// restoreCheckpoint restores the newest good checkpoint and quarantines damaged newer ones.
func (t *trainer) restoreCheckpoint() error {
	for _, c := range t.restored.Damaged {
		t.warn("%v; resuming from %s", c.Err, filepath.Base(t.restored.Dir))
		if err := checkpoint.Quarantine(c.Dir); err != nil {
			return err
		}
	}
	s := t.restored.State
	if s.Format == 0 {
		t.note("%s was written in an older format without %s: it is used unchecked", filepath.Base(t.restored.Dir), checkpoint.SumsFile)
	}
	if err := checkpoint.Restore(t.model, t.Device, t.restored.Dir); err != nil {
		return err
	}
	if info := t.Device.Info(); s.Device != info.Device || s.Driver != info.Arithmetic() {
		t.note("the checkpoint was written on %s (%s), this is %s (%s): losses may differ in their last digits", s.Device, s.Driver, info.Device, info.Arithmetic())
	}
	t.state, t.trainStep.LossScale = s, s.LossScale
	return nil
}

// countedRows is the number of rows that countSteps packs, by their lengths: some seconds.
const countedRows = 4_000_000

// countSteps returns the run's number of steps. With --epochs it is an estimate, unless the
// lengths of all rows are known from an earlier epoch.
func (t *trainer) countSteps(ctx context.Context) (steps int, exact bool, err error) {
	if t.Recipe.Epochs == 0 {
		return t.Recipe.Steps, true, nil
	}
	for epoch := range t.Recipe.Epochs {
		if epoch > 0 && epoch*t.train.Rows().Len() > countedRows { // the others differ by a few steps
			return steps / epoch * t.Recipe.Epochs, false, nil
		}
		n, exact, err := t.train.CountSteps(ctx, epoch)
		if err != nil {
			return 0, false, err
		}
		if !exact {
			return n * t.Recipe.Epochs, false, nil
		}
		steps += n
	}
	return max(1, steps), true, nil
}
