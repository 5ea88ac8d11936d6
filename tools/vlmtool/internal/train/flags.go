package train

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/internal/mpi"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// Command is vlmtool train.
func Command(a *cli.App) *cobra.Command {
	f := &options{}
	c := &cobra.Command{
		Use:   "train --data PATH[,PATH…] --out DIR",
		Short: "Train a model on parquet files",
		Long: `Trains a model on parquet files in FineVision's schema. A preset is a complete recipe, and
flags override parts of it. Ctrl-C saves a checkpoint, from which --resume continues as if
the run had not been interrupted.`,
		Example: `  # the shapes preset, on the data of make demo
  vlmtool train --data 'demo/data/train-*.parquet' --out run
  # resume after an interruption
  vlmtool train --data 'demo/data/train-*.parquet' --out run --resume
  # a short run with a web page at http://127.0.0.1:8080/
  vlmtool train --data 'demo/data/train-*.parquet' --out run2 --steps 500 --listen 8080
  # estimate memory, work, hours and dollars, without data
  vlmtool train --dry-run --preset smollm2-135m --dtype bf16
  # four processes, each with a GPU of its own
  mpirun -np 4 vlmtool train --data 'demo/data/train-*.parquet' --out run4`,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), a, c.Flags()) },
	}
	cli.Group(c, "Data and model", f.dataFlags)
	cli.Group(c, "Data of the hub", f.remote.Declare)
	cli.Group(c, "Recipe (defaults are the preset's)", f.recipeFlags)
	cli.Group(c, "Adapters (LoRA) on a frozen model", f.adapterFlags)
	cli.Group(c, "Validation and checkpoints", f.checkpointFlags)
	cli.Group(c, "Device", func(s *pflag.FlagSet) {
		device.Flag(a, s)
		cli.Choice(s, &f.dtype, "dtype", "", "store activations as `TYPE`; arithmetic, master weights and moments are f32", cli.DTypes...)
		cli.Choice(s, &f.recompute, "recompute", "", "recompute activations in the backward pass (auto = if memory requires it)", "auto", "on", "off")
	})
	cli.Group(c, "Several processes, started by mpirun or srun", func(s *pflag.FlagSet) {
		s.BoolVar(&f.shardOptimizer, "shard-optimizer", false, "divide the optimizer's moments and its work among the processes (default with Muon)")
		s.DurationVar(&f.rankTimeout, "rank-timeout", mpi.DefaultTimeout, "end the run if a process does not answer for `TIME`, or takes that much longer for a step than ever before")
	})
	cli.Group(c, "Monitoring", f.monitorFlags)
	cli.Group(c, "Without training", f.dryFlags)
	return c
}

func (f *options) dataFlags(s *pflag.FlagSet) {
	s.StringArrayVar(&f.data, "data", nil, dataset.Usage)
	s.StringArrayVar(&f.valData, "val-data", nil, "validate on `PATH` instead of held-out rows; given as for --data")
	s.StringVar(&f.out, "out", "", "write the model, checkpoints and metrics to `DIR`")
	cli.Choice(s, &f.preset, "preset", "shapes", "use the recipe `NAME`", train.PresetNames...)
	s.StringVar(&f.config, "config", "", "read the recipe from a JSON `FILE`, as --print-config prints it")
	s.StringVar(&f.decoder, "decoder", "", "start from the pretrained decoder at `PATH`: a Hugging Face folder or a GGUF file")
	cli.MMProjFlag(s, &f.mmproj)
	s.StringVar(&f.model, "model", "", "start from the model at `PATH`: one that vlmtool has trained, or a Gemma 4 with its embedders as a Hugging Face folder")
}

func (f *options) recipeFlags(s *pflag.FlagSet) {
	r := &f.recipe
	s.IntVar(&r.Steps, "steps", 0, "optimizer steps")
	s.IntVar(&r.Epochs, "epochs", 0, "passes over the data, instead of --steps")
	s.IntVar(&r.BatchSize, "batch-size", 0, "rows per micro-batch")
	s.IntVar(&r.Accumulate, "accumulate", 0, "micro-batches per step")
	s.IntVar(&r.SeqLen, "seq-len", 0, "tokens per row")
	s.IntVar(&r.PoolSize, "pool-size", 0, "samples that are packed into rows at a time")
	s.BoolVar(&f.noShuffle, "no-shuffle", false, "keep the order of the data")
	s.Var(&r.ShuffleBuffer, "shuffle-buffer", "mix the data in a buffer of `ROWS` rows or, if their images take more, of 512 MB; all = mix all of it, in memory")
	s.StringVar(&f.imageSize, "image-size", "", "make images squares of `SIZE` pixels, their centre; or keep:N = keep their aspect ratio, with at most N tokens an image; part of the model")
	cli.ImageTokensFlag(s, &f.imageTokens)
	s.BoolVar(&r.Vision.MeanColors, "mean-colors", false, "give the embedder the mean color of each patch, which its first LayerNorm removes; part of the model")
	cli.Choice(s, &f.embedder, "embedder", "", "turn patches into vectors by `KIND`: norms = LayerNorms around one matrix; linear = one matrix alone (Fuyu); stem = two convolutions (EVEv2); encoder = a vision transformer (SigLIP); part of the model", vlm.EmbedderNames...)
	s.BoolVar(&r.ImageExperts, "image-experts", false, "give image tokens matrices and norms of their own in every layer, which start as copies of the decoder's; part of the model")
	s.BoolVar(&r.PerturbAudio, "perturb-audio", false, "change sound at random, differently in each epoch: where it begins, how fast it is, and its noise")
	s.BoolVar(&r.Flip, "flip", false, "mirror half of the images, differently in each epoch, where no text names a side or writing")
	s.Float64Var(&r.LR, "lr", 0, "peak learning rate")
	s.Float64Var(&r.EmbedderLR, "embedder-lr", 0, "peak learning rate of embedder and connector; without it --lr sets both")
	cli.Choice(s, &f.optimizer, "optimizer", "", "adamw8bit = AdamW with moments of 8 bits, a quarter of the memory; muon = Muon for the matrices that start from random numbers, AdamW for the rest",
		train.OptimizerAdamW, train.OptimizerAdamW8Bit, train.OptimizerMuon)
	s.Float64Var(&r.MuonScale, "muon-scale", 0, "learning rate of Muon's matrices, as a multiple of --lr and --embedder-lr")
	cli.Choice(s, &f.qat, "qat", "", "round the decoder's matrices to `TYPE` in the forward pass, for export --quantize TYPE (quantisation-aware training)", train.QATNames...)
	s.IntVar(&r.QATSteps, "qat-steps", 0, "number of last steps that --qat rounds in; 0 = all")
	s.IntVar(&r.Warmup, "warmup", 0, "steps of linear warm-up")
	s.Float64Var(&r.WeightDecay, "weight-decay", 0, "weight decay, on matrices")
	s.Float64Var(&r.Clip, "clip", 0, "maximum norm of the gradients; 0 = no clipping")
	cli.Choice(s, &f.attention, "attention", "", "use the attention `MODE`", string(packing.Document), string(packing.DocumentBidirectionalImage), string(packing.Causal))
	cli.Choice(s, &f.turns, "turns", "", "lay out the questions about an image or sound by `MODE`, one after another or each alone", string(packing.InConversation), string(packing.SharedPrefix))
	cli.Choice(s, &f.loss, "loss", "", "compute the loss on these `TOKENS`", string(packing.OnAll), string(packing.OnAnswers))
	s.IntVar(&r.FreezeDecoderSteps, "freeze-decoder-steps", 0, "number of first steps in which the decoder is frozen")
	s.Uint64Var(&r.Seed, "seed", 0, "random seed of weights and order")
	s.Float64Var(&r.MaxBadFraction, "max-bad-fraction", 0, "fraction of unusable data rows above which the run fails")
}

func (f *options) adapterFlags(s *pflag.FlagSet) {
	s.IntVar(&f.adapter.Rank, "lora-rank", 0, "train adapters of this `RANK`, the embedder and the connector, and keep the rest of --model or --decoder as it is")
	s.Float64Var(&f.adapter.Alpha, "lora-alpha", 0, "scale the adapters by `ALPHA`/rank (default twice the rank)")
	cli.Choices(s, &f.adapter.Targets, "lora-targets", []string{"all"}, "add adapters to the projections of `PART`", append([]string{"all"}, vlm.AdapterTargets...)...)
	cli.Choice(s, &f.weights, "weights", string(pretrained.WeightsAuto), "store the frozen matrices as `TYPE` (auto = quantised ones as in the file)", pretrained.WeightsNames...)
}

func (f *options) checkpointFlags(s *pflag.FlagSet) {
	r := &f.recipe
	s.IntVar(&r.HoldOut, "holdout", 0, "hold out every Nth row for validation; 0 = none")
	s.IntVar(&r.ValEvery, "val-every", 0, "steps between validations; 0 = never")
	s.IntVar(&r.SaveEvery, "save-every", 0, "steps between checkpoints; 0 = only at the end")
	s.BoolVar(&f.resume, "resume", false, "resume from the newest valid checkpoint in --out")
	s.IntVar(&f.keep, "keep", train.DefaultKeep, "keep the newest `N` checkpoints, and the one with the lowest validation loss")
}

func (f *options) monitorFlags(s *pflag.FlagSet) {
	s.StringVar(&f.listen, "listen", "", "serve a web page of the run at `HOST:PORT`, with /metrics for Prometheus; without HOST only to this machine; port 0 = any")
	s.StringVar(&f.tensorboard, "tensorboard", "", "write TensorBoard event files to `DIR`")
	s.StringVar(&f.profile, "profile", "", "write a Perfetto trace of one step to `FILE`")
	s.Float64Var(&f.price, "price-per-hour", defaultPrice, "price of the device in dollars an hour, for the cost of the run; with --dry-run and a --device of this machine the default is 0")
	s.Float64Var(&f.peakTFLOPs, "peak-tflops", 0, "peak of the device in TFLOP/s, for the fraction of peak; with --dry-run 0 = measured on --device, else an H100's for the --dtype")
}

func (f *options) dryFlags(s *pflag.FlagSet) {
	s.BoolVar(&f.printConfig, "print-config", false, "print the recipe as JSON")
	s.BoolVar(&f.dryRun, "dry-run", false, "print parameters, work, memory and cost")
	s.StringVar(&f.report, "report", "", "with --dry-run: use the rates in `FILE`, a report.json of make gpu-report, instead of a committed one of the device")
}
