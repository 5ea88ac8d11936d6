package main

import (
	"context"

	"patchwork/vlm/packing"
	"patchwork/vlm/train"
)

var trainCommand = command{
	name: "train", usage: "--data PATH[,PATH…] --out DIR [flags]", about: "train a model on FineVision-schema parquet",
	text: "Trains a model on parquet files in FineVision's schema. A preset is a whole recipe; flags change parts of it. Ctrl-C saves a checkpoint, and --resume goes on from it as if nothing had been.",
	examples: []example{
		{"vlmtool train --data 'demo/data/train-*.parquet' --out run", "the shapes preset, on the data of make demo"},
		{"vlmtool train --data 'demo/data/train-*.parquet' --out run --resume", "go on after an interruption"},
		{"vlmtool train --data 'demo/data/train-*.parquet' --out run2 --steps 500 --listen 8080", "a short run, watched at http://127.0.0.1:8080/"},
		{"vlmtool train --dry-run --preset smollm2-135m --dtype bf16", "memory, work, hours and dollars, without data"},
	},
	declare: func(a *app) action {
		f := &trainFlags{}
		f.declare(a)
		return func(ctx context.Context) error { return f.run(ctx, a) }
	},
}

func (f *trainFlags) declare(a *app) {
	s, r := a.flags, &f.recipe
	a.group("What to train, on what")
	s.StringArrayVar(&f.data, "data", nil, dataUsage)
	s.StringArrayVar(&f.valData, "val-data", nil, "PATH: validation data instead of held-out rows, given as --data is")
	s.StringVar(&f.out, "out", "", "DIR: folder for the model, checkpoints and metrics")
	a.choice(&f.preset, "preset", "shapes", "NAME: recipe", train.PresetNames...)
	s.StringVar(&f.config, "config", "", "FILE: recipe as JSON, as --print-config prints it")
	s.StringVar(&f.decoder, "decoder", "", "PATH: pretrained decoder: a Hugging Face folder or a GGUF file")
	s.StringVar(&f.model, "model", "", "DIR: trained model's folder to go on from")

	a.group("The recipe; a preset has a value of its own for each")
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
	a.choice(&f.attention, "attention", "", "MODE: which tokens see each other", string(packing.Document), string(packing.DocumentBidirectionalImage), string(packing.Seed))
	a.choice(&f.turns, "turns", "", "MODE: a picture's turns one after another, or each alone behind it", string(packing.InConversation), string(packing.InBranches))
	a.choice(&f.loss, "loss", "", "WORD: tokens to learn", string(packing.OnAll), string(packing.OnAnswers))
	s.IntVar(&r.FreezeDecoderSteps, "freeze-decoder-steps", 0, "first steps that train the embedder alone")
	s.Uint64Var(&r.Seed, "seed", 0, "seed of weights and order")
	s.Float64Var(&r.MaxBadFraction, "max-bad-fraction", 0, "largest share of data rows that cannot be used")

	a.group("Validation and checkpoints")
	s.IntVar(&r.HoldOut, "holdout", 0, "every Nth row is for validation; 0 = none")
	s.IntVar(&r.ValEvery, "val-every", 0, "steps between validations; 0 = never")
	s.IntVar(&r.SaveEvery, "save-every", 0, "steps between checkpoints; 0 = at the end only")
	s.BoolVar(&f.resume, "resume", false, "go on from the newest checkpoint in --out that is whole")
	s.IntVar(&f.keep, "keep", train.DefaultKeep, "newest checkpoints to keep; the one with the least validation loss is kept besides")

	a.group("Where it runs")
	a.deviceFlag()
	a.choice(&f.dtype, "dtype", "", "TYPE: how activations are stored (arithmetic, master weights and moments are f32)", dtypes...)
	a.choice(&f.recompute, "recompute", "", "WORD: compute activations again in the backward pass, auto when memory asks for it", "auto", "on", "off")

	a.group("Watching")
	s.StringVar(&f.listen, "listen", "", "ADDRESS: HOST:PORT of a page to watch the run on, with /metrics for Prometheus; without HOST this machine alone can see it; port 0 = any")
	s.StringVar(&f.tensorboard, "tensorboard", "", "DIR: folder for TensorBoard's event files")
	s.StringVar(&f.profile, "profile", "", "FILE: write a Perfetto trace of one step")
	s.Float64Var(&f.price, "price-per-hour", defaultPrice, "the device's price in dollars, to tell what the rest of the run costs; with --dry-run on a --device that is here, 0 unless given")
	s.Float64Var(&f.peakTFLOPs, "peak-tflops", 0, "the device's peak in TFLOP/s, to tell which part of it a run reaches; with --dry-run, 0 = what is measured on --device, without one an H100's for the --dtype")

	a.group("Instead of training")
	s.BoolVar(&f.printConfig, "print-config", false, "print the recipe as JSON and stop")
	s.BoolVar(&f.dryRun, "dry-run", false, "print parameters, work, memory and cost, and stop")
	s.StringVar(&f.report, "report", "", "FILE: with --dry-run, reckon with what this report.json of make gpu-report measured; without it, with a committed one of the device")
}
