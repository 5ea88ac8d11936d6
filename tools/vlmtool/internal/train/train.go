// Package train is vlmtool train: training, --dry-run and monitoring.
package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/buildinfo"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/errtext"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/loader"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// options are train's flags; those of the recipe count only where they were given.
type options struct {
	data, valData                                            []string
	out, preset, config, decoder, model, profile, report     string
	mmproj                                                   string
	listen, tensorboard, imageSize, embedder                 string
	attention, turns, loss, dtype, recompute, optimizer, qat string
	resume, noShuffle, printConfig, dryRun                   bool
	shardOptimizer                                           bool
	imageTokens                                              int
	rankTimeout                                              time.Duration
	recipe                                                   train.Recipe
	adapter                                                  vlm.Adapter
	weights                                                  string
	keep                                                     int
	remote                                                   dataset.Flags
	peakTFLOPs, price                                        float64
}

// run trains, or prints the recipe or the estimate instead.
func (f *options) run(ctx context.Context, a *cli.App, flags *pflag.FlagSet) error {
	if !f.printConfig && !f.dryRun {
		if err := f.join(ctx, a); err != nil {
			return err
		}
	}
	recipe, err := f.resolve(flags)
	if err == nil {
		err = cmp.Or(f.checkMonitor(a), f.checkRanks(recipe))
	}
	switch {
	case err != nil:
	case f.printConfig:
		return a.Result(recipe)
	case f.dryRun:
		return f.runDry(ctx, a, recipe)
	default:
		err = f.train(ctx, a, recipe)
	}
	a.World.Fail(err)
	return err
}

// resolve is the recipe of the preset, the file or the resumed run, overridden by the
// flags that were given.
func (f *options) resolve(s *pflag.FlagSet) (train.Recipe, error) {
	switch {
	case s.Changed("steps") && s.Changed("epochs"):
		return train.Recipe{}, usage.Errorf("--steps and --epochs are both given; one is enough")
	case s.Changed("shuffle-buffer") && f.noShuffle:
		return train.Recipe{}, usage.Errorf("--shuffle-buffer and --no-shuffle are both given; one is enough")
	case f.mmproj != "" && f.model == "":
		return train.Recipe{}, usage.Errorf("--mmproj belongs to a GGUF file that --model names")
	case f.imageTokens > 0 && f.model == "":
		return train.Recipe{}, usage.Errorf("--image-tokens is for a model that --model names; use --image-size keep:%d", f.imageTokens)
	case s.Changed("epochs") && f.recipe.Epochs < 1:
		return train.Recipe{}, usage.Errorf("--epochs cannot be %d, want 1 or more; --steps gives the length in steps instead", f.recipe.Epochs)
	}
	for _, part := range []string{"mean-colors", "image-size", "embedder", "image-experts"} {
		if s.Changed(part) && f.model != "" {
			return train.Recipe{}, usage.Errorf("--%s cannot be changed in the model that --model names; leave it out", part)
		}
	}
	if err := cli.CheckImageTokens(f.imageTokens); err != nil {
		return train.Recipe{}, err
	}
	r, err := f.base(s)
	if err != nil {
		return r, err
	}
	set := map[string]func(){
		"steps":      func() { r.Steps, r.Epochs = f.recipe.Steps, 0 },
		"epochs":     func() { r.Epochs = f.recipe.Epochs },
		"batch-size": func() { r.BatchSize = f.recipe.BatchSize }, "accumulate": func() { r.Accumulate = f.recipe.Accumulate },
		"seq-len": func() { r.SeqLen = f.recipe.SeqLen }, "pool-size": func() { r.PoolSize = f.recipe.PoolSize },
		"no-shuffle":     func() { r.Shuffle = !f.noShuffle },
		"mean-colors":    func() { r.Vision.MeanColors = f.recipe.Vision.MeanColors },
		"image-experts":  func() { r.ImageExperts = f.recipe.ImageExperts },
		"flip":           func() { r.Flip = f.recipe.Flip },
		"perturb-audio":  func() { r.PerturbAudio = f.recipe.PerturbAudio },
		"shuffle-buffer": func() { r.Shuffle, r.ShuffleBuffer = true, f.recipe.ShuffleBuffer },
		"lr": func() {
			if r.LR = f.recipe.LR; !s.Changed("embedder-lr") {
				r.EmbedderLR = r.LR
			}
		},
		"embedder-lr": func() { r.EmbedderLR = f.recipe.EmbedderLR }, "warmup": func() { r.Warmup = f.recipe.Warmup },
		"optimizer": func() { r.Optimizer = f.optimizer }, "muon-scale": func() { r.MuonScale = f.recipe.MuonScale },
		"qat": func() {
			if r.QAT = f.qat; r.QAT == train.QATNone {
				r.QATSteps = 0
			}
		},
		"qat-steps":    func() { r.QATSteps = f.recipe.QATSteps },
		"weight-decay": func() { r.WeightDecay = f.recipe.WeightDecay }, "clip": func() { r.Clip = f.recipe.Clip },
		"attention":            func() { r.Attention = packing.Attention(f.attention) },
		"turns":                func() { r.Turns = packing.Turns(f.turns) },
		"loss":                 func() { r.Loss = packing.Loss(f.loss) },
		"freeze-decoder-steps": func() { r.FreezeDecoderSteps = f.recipe.FreezeDecoderSteps },
		"holdout":              func() { r.HoldOut = f.recipe.HoldOut }, "val-every": func() { r.ValEvery = f.recipe.ValEvery },
		"save-every": func() { r.SaveEvery = f.recipe.SaveEvery }, "dtype": func() { r.DType = f.dtype },
		"recompute": func() { r.Recompute = f.recompute },
		"seed":      func() { r.Seed = f.recipe.Seed }, "max-bad-fraction": func() { r.MaxBadFraction = f.recipe.MaxBadFraction },
	}
	s.Visit(func(flag *pflag.Flag) {
		if apply := set[flag.Name]; apply != nil {
			apply()
		}
	})
	for _, part := range []string{"image-size", "embedder", "image-experts"} {
		if s.Changed(part) && r.Vision.None() {
			return r, usage.Errorf("--%s: the recipe takes no images", part)
		}
	}
	if f.embedder != "" {
		r.Vision.SetEmbedder(f.embedder)
	}
	if f.imageSize != "" {
		if err := r.Vision.SetImageSize(f.imageSize); err != nil {
			return r, usage.Errorf("--image-size: %v", err)
		}
	}
	if f.model != "" {
		o := train.ModelOptions{KeepAttention: s.Changed("attention") || f.config != "" || f.resumes(), ImageTokens: f.imageTokens, MMProj: f.mmproj}
		var tokens *train.ImageTokensError
		if r, err = r.WithModel(f.model, o); errors.As(err, &tokens) {
			return r, usage.Error{Err: err}
		} else if err != nil {
			return r, err
		}
	}
	f.adapt(s, &r)
	if err := r.Check(); err != nil {
		return r, usage.Error{Err: err}
	}
	return r, nil
}

// adapt sets the recipe's adapter by the flags that were given.
func (f *options) adapt(s *pflag.FlagSet, r *train.Recipe) {
	given := s.Changed("lora-rank") || s.Changed("lora-alpha") || s.Changed("lora-targets")
	if given {
		a := f.adapter
		if r.Adapter != nil && !s.Changed("lora-rank") {
			a.Rank = r.Adapter.Rank
		}
		if !s.Changed("lora-alpha") {
			a.Alpha = 2 * float64(a.Rank)
		}
		if slices.Contains(a.Targets, "all") {
			a.Targets = vlm.AdapterTargets
		}
		r.Adapter = &a
	}
	if s.Changed("weights") || r.Adapter != nil && r.BaseWeights == "" {
		r.BaseWeights = pretrained.Weights(f.weights)
	}
}

func (f *options) base(s *pflag.FlagSet) (train.Recipe, error) {
	if f.resume && f.out != "" && !s.Changed("preset") && f.config == "" {
		if r, ok, err := train.SavedRecipe(f.out); ok || err != nil {
			return r, err
		}
	}
	if f.config != "" {
		if s.Changed("preset") {
			return train.Recipe{}, usage.Errorf("--preset and --config are both given; one is enough")
		}
		r, err := train.ReadRecipe(f.config)
		if err != nil {
			return r, usage.Errorf("--config: %w", err)
		}
		return r, nil
	}
	r, err := train.Preset(f.preset)
	if err != nil {
		return r, usage.Error{Err: err}
	}
	return r, nil
}

// resumes reports whether a run is resumed.
func (f *options) resumes() bool {
	if !f.resume || f.out == "" {
		return false
	}
	_, saved, err := train.SavedRecipe(f.out)
	return saved && err == nil
}

func (f *options) train(ctx context.Context, a *cli.App, r train.Recipe) error {
	if f.resume && f.decoder == "" && f.model == "" {
		f.decoder = train.SavedDecoder(f.out)
	}
	switch {
	case f.keep < 1:
		return usage.Errorf("--keep cannot be %d; a run needs a checkpoint to resume from", f.keep)
	case f.out == "":
		return usage.Errorf("--out is missing: the folder for the model")
	case cli.Empty(f.data):
		return usage.Errorf("--data is missing: parquet files, a glob or a folder")
	case f.decoder != "" && f.model != "":
		return usage.Errorf("--decoder and --model are both given; one is enough")
	case r.Decoder != "" && f.decoder == "" && f.model == "":
		return usage.Errorf("preset %s starts from a pretrained decoder: run vlmtool fetch %s --out DECODER, then add --decoder DECODER", r.Preset, r.Decoder)
	}
	if err := cmp.Or(checkProfile(f.profile), checkPool(r)); err != nil {
		return err
	}
	if err := train.CheckOut(f.out, f.resume); err != nil && a.World.Rank() == 0 {
		if errors.Is(err, train.ErrNotEmpty) {
			return usage.Error{Err: err}
		}
		return fmt.Errorf("--out: %w", err)
	}
	var earlier []string
	if f.resume {
		earlier = train.SavedFiles(f.out)
	}
	source := f.remote.Open(earlier)
	defer source.Close()
	files, err := source.Files(ctx, f.data)
	if err != nil {
		return err
	}
	var valFiles []data.File
	if !cli.Empty(f.valData) {
		if valFiles, err = source.Files(ctx, f.valData); err != nil {
			return err
		}
	}
	dev, err := device.Open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	o := train.Options{
		Recipe: r, Data: files, ValData: valFiles, Out: f.out, Model: f.model, MMProj: f.mmproj, Decoder: f.decoder, Resume: f.resume, Keep: f.keep, Device: dev, Version: buildinfo.Version(), Profile: f.profile,
		World: a.World, ShardOptimizer: f.sharded(a, r),
	}
	result, err := f.runObserved(ctx, a, source, o)
	if err != nil {
		var settings *train.SettingsError
		var length *loader.LengthError
		var ranks *train.RanksError
		if errors.As(err, &settings) || errors.As(err, &length) || errors.As(err, &ranks) {
			return usage.Error{Err: err}
		}
		return err
	}
	switch {
	case a.World.Rank() > 0:
	case a.JSON:
		return a.Result(result)
	case !a.Quiet:
		fmt.Fprintf(a.Stderr, "%d steps in %s, loss %.4f, %.0f tokens/s; the model is in %s\n",
			result.Steps, terminal.Seconds(result.Seconds), result.Loss, result.TokensPerS, result.Out)
	}
	return nil
}

// runObserved runs with the monitors that flags ask for, on one of several ranks.
func (f *options) runObserved(ctx context.Context, a *cli.App, source *dataset.Source, o train.Options) (train.Result, error) {
	ctx, stop := signal.NotifyContext(ctx, stopSignals...)
	defer stop()
	start := func(train.Info) { cli.EndGracefully() } // from here on an interrupted run saves a checkpoint first
	if o.Observe.Start = start; a.World.Rank() > 0 {
		o.Profile = ""
		return train.Run(ctx, o)
	}
	monitor, err := f.startMonitor(a, o.Recipe, o.Device.Info())
	if err != nil {
		return train.Result{}, err
	}
	observer := monitor.observer()
	source.Report(observer.Warn, observer.Note)
	device.ReportCompiling(o.Device, observer.Note)
	o.Observe = train.MultiObserver(o.Observe, observer)
	result, err := train.Run(ctx, o)
	if failed := monitor.close(err); failed != nil {
		slog.Warn("closing --listen or --tensorboard: " + errtext.Line(failed))
	}
	return result, err
}

// checkProfile checks before the run that the trace, which is written at a later step,
// can be created.
func checkProfile(file string) error {
	if file == "" {
		return nil
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return usage.Errorf("--profile %s is a folder; name a file", file)
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		return usage.Errorf("--profile %s: no folder %s; make it first", file, filepath.Dir(file))
	}
	return nil
}

// checkPool rejects a pool of samples that would not fit in memory.
func checkPool(r train.Recipe) error {
	const perToken, perSample = 5, 256 // an id and a flag; the rest, as measured
	need, have := int64(r.PoolSize)*(int64(r.SeqLen)*perToken+perSample), engine.HostMemory()
	if have > 0 && need > have {
		return usage.Errorf("--pool-size %d at --seq-len %d may take %s, but this machine has %s; use a smaller --pool-size", r.PoolSize, r.SeqLen, engine.Bytes(need), engine.Bytes(have))
	}
	return nil
}

// WarnBadRow logs a row that is skipped.
func WarnBadRow(v data.Verdict) {
	slog.Warn(fmt.Sprintf("%s: row %d is skipped: %s", v.File, v.Row, v.Reason))
}
