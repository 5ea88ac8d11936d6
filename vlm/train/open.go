package train

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/internal/jsonfloat"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
	"patchwork/vlm/pretrained"
)

// open reads the data's and the model's descriptions, allocates, and brings a
// checkpoint back.
func (t *trainer) open(ctx context.Context) error {
	t.saver = &saver{dir: filepath.Join(t.Out, "checkpoints"), keep: max(1, cmp.Or(t.Keep, DefaultKeep))}
	var err error
	longer := t.Resume && Finished(t.Out) && t.prolongs()
	t.finished = t.Resume && Finished(t.Out) && !longer
	switch {
	case t.finished:
		t.saved.Dir = t.Out
	case t.Resume:
		if t.saved, err = checkpoint.NewestGood[trainerState](ctx, t.saver.dir); err != nil {
			return err
		}
	}
	if longer && t.saved.Dir == "" {
		return fmt.Errorf("%s: the run is finished and its checkpoints are gone, so that it cannot be made longer; train on from its model: --model %s --out ANOTHER", t.Out, t.Out)
	}
	if err := t.openData(); err != nil {
		return err
	}
	if t.saved.Dir == "" {
		if err := t.train.checkLength(); err != nil {
			return err
		}
	}
	if !t.finished {
		if t.steps, err = t.countSteps(ctx); err != nil {
			return err
		}
		if t.steps < t.saved.State.Step {
			return fmt.Errorf("--steps %d: the run in %s has taken %d steps already; give more, or take its checkpoint as it is", t.steps, t.Out, t.saved.State.Step)
		}
	}
	if err := t.writeRun(); err != nil {
		return err
	}
	if t.finished {
		return t.openFinished()
	}
	if longer { // its weights say that the run has ended; the checkpoint has them too
		if err := os.Remove(filepath.Join(t.Out, pretrained.WeightsFile)); err != nil {
			return err
		}
	}
	if err := t.clean(); err != nil {
		return err
	}
	if t.Recipe.frozenThroughout() {
		t.model.Params.Untrained(vlm.GroupDecoder)
	}
	t.model.Store(t.Recipe.storage())
	if err := t.model.Allocate(t.Device, true); err != nil {
		return err
	}
	optimizer := nn.AdamW{Beta1: t.Recipe.Beta1, Beta2: t.Recipe.Beta2, Eps: t.Recipe.Eps, WeightDecay: t.Recipe.WeightDecay, MaxNorm: t.Recipe.Clip}
	if t.trainStep, err = NewTrainStep(t.model, t.Device, shapeFor(t.model.Config, t.Recipe.BatchSize, t.Recipe.SeqLen), optimizer); err != nil {
		return err
	}
	t.trainStep.Visible = t.Recipe.expected().visible
	if t.trainStep.Recompute, err = t.recompute(); err != nil {
		return err
	}
	if err := t.restore(); err != nil {
		return err
	}
	t.rates = map[string]nn.Schedule{
		vlm.GroupEmbedder: {Peak: t.Recipe.EmbedderLR, Warmup: t.Recipe.Warmup, Steps: t.steps, Floor: t.Recipe.LRFloor},
		vlm.GroupDecoder:  {Peak: t.Recipe.LR, Warmup: t.Recipe.Warmup, Steps: t.steps - t.Recipe.FreezeDecoderSteps, Floor: t.Recipe.LRFloor},
	}
	t.metrics, err = openMetrics(filepath.Join(t.Out, "metrics.jsonl"), t.state.Step)
	t.saver.metrics = t.metrics
	return err
}

// prolongs says whether a finished run is asked for more steps than it took.
func (t *trainer) prolongs() bool {
	saved, err := readRun(t.Out)
	if err != nil {
		return false // which writeRun will say
	}
	return t.Recipe.Steps > saved.Recipe.Steps && t.Recipe.Epochs == 0 || t.Recipe.Epochs > saved.Recipe.Epochs
}

// openFinished reads how a run ended that has come to its end.
func (t *trainer) openFinished() error {
	var err error
	if t.metrics, err = openMetrics(filepath.Join(t.Out, "metrics.jsonl"), math.MaxInt); err != nil {
		return err
	}
	if n := len(t.metrics.train); n > 0 { // the checkpoints may be gone
		last := t.metrics.train[n-1]
		t.state.Step, t.state.Tokens, t.state.Seconds = last.Step, last.Tokens, last.Seconds
	}
	if n := len(t.metrics.val); n > 0 {
		t.state.ValLoss = jsonfloat.Float(t.metrics.val[n-1].ValLoss)
	}
	return nil
}

// recompute decides whether activations are computed again in the backward pass.
func (t *trainer) recompute() (bool, error) {
	if t.Recipe.Recompute != "auto" {
		return t.Recipe.Recompute == "on", nil
	}
	kept, err := t.Recipe.estimate(t.model, false)
	room := t.Device.Info().Memory
	if err != nil || room > 0 && kept.MemoryBytes.Fits(room) {
		return false, err
	}
	again, err := t.Recipe.estimate(t.model, true)
	if err != nil {
		return false, err
	}
	if room == 0 {
		t.note("keeping activations: training takes %s, with --recompute on %s, and %s does not tell how much memory it has",
			engine.Bytes(kept.MemoryBytes.Total), engine.Bytes(again.MemoryBytes.Total), t.Device.Info().Device)
		return false, nil
	}
	t.note("recomputing activations: training takes %s when they are all kept, %s so, and the device has %s; --recompute off keeps them",
		engine.Bytes(kept.MemoryBytes.Total), engine.Bytes(again.MemoryBytes.Total), engine.Bytes(room))
	return true, nil
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
	if pictured, err := train.HasImages(data.ImageSearchRows); err != nil {
		return err
	} else if !pictured {
		t.warn("no row of the data has a picture: the model learns from text alone")
	}
	if err := t.openModel(); err != nil {
		return err
	}
	if !t.processor.LearnsToStop() {
		t.warn("the chat template puts no token behind an answer: the model cannot learn where its answers end, and they will run to --max-new-tokens")
	}
	if t.badRows, err = data.OpenBadRows(filepath.Join(t.Out, data.BadRowsFile)); err != nil {
		return err
	}
	t.stats.ListTo(t.badRows, train)
	valTally := data.NewRowStats(nil)
	valTally.ListTo(t.badRows, valSet)
	t.train = NewLoader(train, rows, t.processor, t.Recipe, t.model.Config.Vision, t.stats)
	valRecipe := t.Recipe
	valRecipe.Shuffle, valRecipe.MaxBadFraction = false, 1
	t.val = NewLoader(valSet, thin(valRows, t.Recipe.ValRows), t.processor, valRecipe, t.model.Config.Vision, valTally)
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
		if t.model, t.processor, err = pretrained.OpenFolder(t.Model); err != nil {
			return err
		}
		t.model.Config.Attention, t.model.Config.Turns = t.Recipe.Attention, t.Recipe.Turns
		return nil
	}
	if t.Decoder != "" {
		return t.openDecoder()
	}
	if t.processor, err = pretrained.PresetProcessor(t.Recipe.Preset, t.Recipe.Vision.Patches()); err != nil {
		return err
	}
	t.model, err = vlm.NewModel(t.Recipe.config(*t.Recipe.Text, int(t.processor.ImageID())), t.Recipe.Init)
	if err == nil && t.processor.Tokenizer.Len() > t.Recipe.Text.VocabSize {
		err = fmt.Errorf("the tokenizer has %d ids, vocab_size is %d", t.processor.Tokenizer.Len(), t.Recipe.Text.VocabSize)
	}
	return err
}

// restore brings back the newest good checkpoint of a resumed run, or the weights to
// start from.
func (t *trainer) restore() error {
	if t.saved.Dir != "" {
		return t.resumeFrom()
	}
	if t.Model != "" {
		return pretrained.ReadWeights(t.model, t.Device, t.Model)
	}
	if t.Decoder != "" {
		return t.loadDecoder()
	}
	return t.model.Params.Initialise(t.Device, t.Recipe.Seed)
}

// resumeFrom brings the checkpoint back that was found to be whole, and sets broken ones
// aside.
func (t *trainer) resumeFrom() error {
	for _, c := range t.saved.Damaged {
		t.warn("%v; resuming from %s", c.Err, filepath.Base(t.saved.Dir))
		if err := checkpoint.Quarantine(c.Dir); err != nil {
			return err
		}
	}
	s := t.saved.State
	if s.Format == 0 {
		t.note("%s is of an older form without %s: it is taken as it is", filepath.Base(t.saved.Dir), checkpoint.SumsFile)
	}
	if err := checkpoint.Restore(t.model, t.Device, t.saved.Dir); err != nil {
		return err
	}
	if info := t.Device.Info(); s.Device != info.Device || s.Driver != info.Arithmetic() {
		t.note("the checkpoint was made on %s (%s), this is %s (%s): losses may differ in their last digits", s.Device, s.Driver, info.Device, info.Arithmetic())
	}
	t.state, t.trainStep.LossScale = s, s.LossScale
	return nil
}

// countSteps is the run's length; epochs are counted by packing one.
func (t *trainer) countSteps(ctx context.Context) (int, error) {
	if t.Recipe.Epochs == 0 {
		return t.Recipe.Steps, nil
	}
	n, err := t.train.CountBatches(ctx, 0)
	return max(1, t.Recipe.Epochs*n/t.Recipe.Accumulate), err
}
