package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"patchwork/vlm"
	"patchwork/vlm/batch"
	"patchwork/vlm/data"
)

// trainFlags are train's own; recipe flags are read where they were set.
type trainFlags struct {
	data, valData, out, preset, config, decoder, model, profile, report string
	listen, tensorboard                                                 string
	attention, turns, loss, dtype, recompute                            string
	resume, noShuffle, printConfig, dryRun                              bool
	recipe                                                              vlm.Recipe
	keep                                                                int
	peakTFLOPs, price                                                   float64
}

func runTrain(ctx context.Context, a *app, args []string) error {
	f := &trainFlags{}
	f.declare(a.flags)
	a.deviceFlag()
	if err := a.parse(args, 0); err != nil {
		return err
	}
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
		return f.runDry(a, recipe)
	}
	return f.train(ctx, a, recipe)
}

func (f *trainFlags) declare(s *pflag.FlagSet) {
	s.StringVar(&f.data, "data", "", "parquet files, globs or folders, separated by commas")
	s.StringVar(&f.valData, "val-data", "", "validation data instead of held-out rows")
	s.StringVar(&f.out, "out", "", "folder for the model, checkpoints and metrics")
	s.StringVar(&f.preset, "preset", "shapes", "recipe: "+strings.Join(vlm.PresetNames, ", "))
	s.StringVar(&f.config, "config", "", "recipe's JSON file, as --print-config prints it")
	s.StringVar(&f.decoder, "decoder", "", "pretrained decoder: a Hugging Face folder or a GGUF file")
	s.StringVar(&f.model, "model", "", "trained model's folder to go on from")
	r := &f.recipe
	s.IntVar(&r.Steps, "steps", 0, "optimizer steps")
	s.IntVar(&r.Epochs, "epochs", 0, "passes over the data, instead of --steps")
	s.IntVar(&r.BatchSize, "batch-size", 0, "rows of a micro-batch")
	s.IntVar(&r.Accumulate, "accumulate", 0, "micro-batches of a step")
	s.IntVar(&r.SeqLen, "seq-len", 0, "tokens of a row")
	s.IntVar(&r.PoolSize, "pool-size", 0, "samples that are packed together")
	s.BoolVar(&f.noShuffle, "no-shuffle", false, "keep the data's order")
	s.Float64Var(&r.LR, "lr", 0, "peak learning rate")
	s.Float64Var(&r.EmbedderLR, "embedder-lr", 0, "peak learning rate of embedder and connector; --lr alone sets both")
	s.IntVar(&r.Warmup, "warmup", 0, "steps of linear warm-up")
	s.Float64Var(&r.WeightDecay, "weight-decay", 0, "AdamW's, on matrices")
	s.Float64Var(&r.Clip, "clip", 0, "largest norm of all gradients; 0 = no clipping")
	s.StringVar(&f.attention, "attention", "", "document, document_bidirectional_image or seed")
	s.StringVar(&f.turns, "turns", "", "conversation or branches")
	s.StringVar(&f.loss, "loss", "", "all or answers")
	s.IntVar(&r.FreezeDecoderSteps, "freeze-decoder-steps", 0, "first steps that train the embedder alone")
	s.IntVar(&r.HoldOut, "holdout", 0, "every Nth row is for validation; 0 = none")
	s.IntVar(&r.ValEvery, "val-every", 0, "steps between validations; 0 = never")
	s.IntVar(&r.SaveEvery, "save-every", 0, "steps between checkpoints; 0 = at the end only")
	s.StringVar(&f.dtype, "dtype", "", "how activations are stored: f32, bf16 or f16; arithmetic, master weights and moments are f32")
	s.StringVar(&f.recompute, "recompute", "", "compute activations again in the backward pass: auto (when memory asks for it), on or off")
	s.Uint64Var(&r.Seed, "seed", 0, "seed of weights and order")
	s.Float64Var(&r.MaxBadFraction, "max-bad-fraction", 0, "largest share of data rows that cannot be used")
	s.BoolVar(&f.resume, "resume", false, "go on from the newest checkpoint in --out that is whole")
	s.IntVar(&f.keep, "keep", vlm.DefaultKeep, "newest checkpoints to keep; the one with the least validation loss is kept besides")
	s.StringVar(&f.profile, "profile", "", "write a Perfetto trace of one step")
	s.StringVar(&f.listen, "listen", "", "HOST:PORT of a page to watch the run on, with /metrics for Prometheus; without HOST this machine alone can see it; port 0 = any")
	s.StringVar(&f.tensorboard, "tensorboard", "", "folder for TensorBoard's event files")
	s.BoolVar(&f.printConfig, "print-config", false, "print the recipe as JSON and stop")
	s.BoolVar(&f.dryRun, "dry-run", false, "print parameters, work, memory and cost, and stop")
	s.Float64Var(&f.peakTFLOPs, "peak-tflops", 0, "the device's peak in TFLOP/s, to tell which part of it a run reaches; with --dry-run, 0 = an H100's for the --dtype")
	s.StringVar(&f.report, "report", "", "with --dry-run: reckon with what this report.json of make gpu-report measured; without it, with a committed one of the device")
	s.Float64Var(&f.price, "price-per-hour", defaultPrice, "the device's price in dollars, to tell what the rest of the run costs")
}

// resolve takes the preset's or the file's recipe, or that of the run that is
// resumed, and puts the flags that were given over it.
func (f *trainFlags) resolve(s *pflag.FlagSet) (vlm.Recipe, error) {
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
		"attention":            func() { r.Attention = batch.Attention(f.attention) },
		"turns":                func() { r.Turns = batch.Turns(f.turns) },
		"loss":                 func() { r.Loss = batch.Loss(f.loss) },
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

func (f *trainFlags) base(s *pflag.FlagSet) (vlm.Recipe, error) {
	if f.resume && f.out != "" && !s.Changed("preset") && f.config == "" {
		if r, ok, err := vlm.SavedRecipe(f.out); ok || err != nil {
			return r, err
		}
	}
	if f.config != "" {
		if s.Changed("preset") {
			return vlm.Recipe{}, usagef("--preset and --config are both given; one is enough")
		}
		r, err := vlm.ReadRecipe(f.config)
		if err != nil {
			return r, usageError{err}
		}
		return r, nil
	}
	r, err := vlm.Preset(f.preset)
	if err != nil {
		return r, usageError{err}
	}
	return r, nil
}

func (f *trainFlags) train(ctx context.Context, a *app, r vlm.Recipe) error {
	if f.resume && f.decoder == "" && f.model == "" {
		f.decoder = vlm.SavedDecoder(f.out)
	}
	switch {
	case f.keep < 1:
		return usagef("--keep cannot be %d; a run needs a checkpoint to go on from", f.keep)
	case f.out == "":
		return usagef("--out is missing: the folder that receives the model")
	case f.data == "":
		return usagef("--data is missing: parquet files, a glob or a folder")
	case f.decoder != "" && f.model != "":
		return usagef("--decoder and --model are both given; one is enough")
	case r.Decoder != "" && f.decoder == "" && f.model == "":
		return usagef("preset %s starts from a pretrained decoder: bring it by vlmtool fetch %s --out DECODER, and add --decoder DECODER", r.Preset, r.Decoder)
	}
	if err := vlm.CheckOut(f.out, f.resume); err != nil {
		if errors.Is(err, vlm.ErrNotEmpty) {
			return usageError{err}
		}
		return err
	}
	files, err := data.Resolve(strings.Split(f.data, ","))
	if err != nil {
		return usageError{err}
	}
	var valFiles []string
	if f.valData != "" {
		if valFiles, err = data.Resolve(strings.Split(f.valData, ",")); err != nil {
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
	result, err := vlm.Train(ctx, vlm.TrainOptions{
		Recipe: r, Data: files, ValData: valFiles, Out: f.out, Model: f.model, Decoder: f.decoder, Resume: f.resume, Keep: f.keep, Device: dev, Version: version(), Profile: f.profile,
		Observe: watching.observer(),
	})
	if failed := watching.close(err); failed != nil {
		slog.Warn("the end of the watching: " + oneLine(failed))
	}
	if err != nil {
		var settings *vlm.SettingsError
		if errors.As(err, &settings) {
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

func warnBadRow(v data.Verdict) {
	slog.Warn(fmt.Sprintf("%s: row %d is skipped: %s", v.File, v.Row, v.Reason))
}
