package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/train"
)

// trainFlags are train's own; recipe flags are read where they were set.
type trainFlags struct {
	data, valData                                        []string
	out, preset, config, decoder, model, profile, report string
	listen, tensorboard                                  string
	attention, turns, loss, dtype, recompute             string
	resume, noShuffle, printConfig, dryRun               bool
	recipe                                               train.Recipe
	keep                                                 int
	peakTFLOPs, price                                    float64
}

// run trains, or does what is asked for instead.
func (f *trainFlags) run(ctx context.Context, a *app) error {
	recipe, err := f.resolve(a.flags)
	if err != nil {
		return err
	}
	if err := f.checkWatching(a); err != nil {
		return err
	}
	switch {
	case f.printConfig:
		return a.result(recipe)
	case f.dryRun:
		return f.runDry(ctx, a, recipe)
	}
	return f.train(ctx, a, recipe)
}

// resolve takes the preset's or the file's recipe, or that of the run that is
// resumed, and puts the flags that were given over it.
func (f *trainFlags) resolve(s *pflag.FlagSet) (train.Recipe, error) {
	switch {
	case s.Changed("steps") && s.Changed("epochs"):
		return train.Recipe{}, usagef("--steps and --epochs are both given; one is enough")
	case s.Changed("epochs") && f.recipe.Epochs < 1:
		return train.Recipe{}, usagef("--epochs cannot be %d, want 1 or more; --steps gives the length in steps instead", f.recipe.Epochs)
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
		"no-shuffle": func() { r.Shuffle = !f.noShuffle },
		"lr": func() {
			if r.LR = f.recipe.LR; !s.Changed("embedder-lr") {
				r.EmbedderLR = r.LR
			}
		},
		"embedder-lr": func() { r.EmbedderLR = f.recipe.EmbedderLR }, "warmup": func() { r.Warmup = f.recipe.Warmup },
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
	if err := r.Check(); err != nil {
		return r, usageError{err}
	}
	return r, nil
}

func (f *trainFlags) base(s *pflag.FlagSet) (train.Recipe, error) {
	if f.resume && f.out != "" && !s.Changed("preset") && f.config == "" {
		if r, ok, err := train.SavedRecipe(f.out); ok || err != nil {
			return r, err
		}
	}
	if f.config != "" {
		if s.Changed("preset") {
			return train.Recipe{}, usagef("--preset and --config are both given; one is enough")
		}
		r, err := train.ReadRecipe(f.config)
		if err != nil {
			return r, usagef("--config: %w", err)
		}
		return r, nil
	}
	r, err := train.Preset(f.preset)
	if err != nil {
		return r, usageError{err}
	}
	return r, nil
}

func (f *trainFlags) train(ctx context.Context, a *app, r train.Recipe) error {
	if f.resume && f.decoder == "" && f.model == "" {
		f.decoder = train.SavedDecoder(f.out)
	}
	switch {
	case f.keep < 1:
		return usagef("--keep cannot be %d; a run needs a checkpoint to go on from", f.keep)
	case f.out == "":
		return usagef("--out is missing: the folder that receives the model")
	case none(f.data):
		return usagef("--data is missing: parquet files, a glob or a folder")
	case f.decoder != "" && f.model != "":
		return usagef("--decoder and --model are both given; one is enough")
	case r.Decoder != "" && f.decoder == "" && f.model == "":
		return usagef("preset %s starts from a pretrained decoder: bring it by vlmtool fetch %s --out DECODER, and add --decoder DECODER", r.Preset, r.Decoder)
	}
	if err := cmp.Or(checkProfile(f.profile), checkPool(r)); err != nil {
		return err
	}
	if err := train.CheckOut(f.out, f.resume); err != nil {
		if errors.Is(err, train.ErrNotEmpty) {
			return usageError{err}
		}
		return fmt.Errorf("--out: %w", err)
	}
	files, err := data.Resolve(f.data)
	if err != nil {
		return usageError{err}
	}
	var valFiles []string
	if !none(f.valData) {
		if valFiles, err = data.Resolve(f.valData); err != nil {
			return usageError{err}
		}
	}
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	watching, err := f.watch(a, r, dev.Info())
	if err != nil {
		return err
	}
	// A reader of the output that has gone, as in train | head, ends a run in order.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGPIPE)
	defer stop()
	observer := watching.observer()
	begin := observer.Start
	observer.Start = func(r train.Info) {
		orderly.Store(true) // from here on the run saves a checkpoint first
		begin(r)
	}
	result, err := train.Run(ctx, train.Options{
		Recipe: r, Data: files, ValData: valFiles, Out: f.out, Model: f.model, Decoder: f.decoder, Resume: f.resume, Keep: f.keep, Device: dev, Version: version(), Profile: f.profile,
		Observe: observer,
	})
	if failed := watching.close(err); failed != nil {
		slog.Warn("the end of the watching: " + oneLine(failed))
	}
	if err != nil {
		var settings *train.SettingsError
		var length *train.LengthError
		if errors.As(err, &settings) || errors.As(err, &length) {
			return usageError{err}
		}
		return err
	}
	if a.json {
		return a.result(result)
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%d steps in %s, loss %.4f, %.0f tokens/s; the model is in %s\n",
			result.Steps, seconds(result.Seconds), result.Loss, result.TokensPerS, result.Out)
	}
	return nil
}

// checkProfile finds out before the run whether the trace's file can lie where it is
// to be written, at a later step.
func checkProfile(file string) error {
	if file == "" {
		return nil
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return usagef("--profile %s is a folder; name a file", file)
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		return usagef("--profile %s: there is no folder %s; make it first", file, filepath.Dir(file))
	}
	return nil
}

func warnBadRow(v data.Verdict) {
	slog.Warn(fmt.Sprintf("%s: row %d is skipped: %s", v.File, v.Row, v.Reason))
}
