package bench

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/loader"
	"patchwork/vlm/train"
)

// dataOptions are the flags of bench data.
type dataOptions struct {
	preset, model string
	paths         []string
	limit         time.Duration
	noShuffle     bool
	buffer        train.ShuffleBuffer
	source        dataset.Flags
}

// dataResult is bench data's line of JSON.
type dataResult struct {
	Bench          string  `json:"bench"`
	Preset         string  `json:"preset"`
	Shuffled       bool    `json:"shuffled"`
	Rows           int     `json:"rows"`
	Cores          int     `json:"cores"`
	Steps          int     `json:"steps"`
	FirstMS        float64 `json:"first_ms"` // to the first step, from opening the files
	Seconds        float64 `json:"seconds"`  // after the first step
	ImagesPerS     float64 `json:"images_per_s"`
	ImagesPerSCore float64 `json:"images_per_s_core"`
	TokensPerS     float64 `json:"tokens_per_s"`
}

// defaultDataLimit is how long bench data measures.
const defaultDataLimit = 10 * time.Second

func dataCommand(a *cli.App) *cobra.Command {
	f := &dataOptions{}
	c := &cobra.Command{
		Use:   "data",
		Short: "Benchmark reading, packing and decoding a data set, without a model",
		Long: `Loads the steps of a training run as fast as all cores can: reads the rows in shuffled order,
encodes and packs their texts, decodes their images and scales them. A device that trains
on fewer images/s than this is never kept waiting.`,
		Example: `  vlmtool bench data --data demo/data/train-00000-of-00001.parquet
  # one core
  GOMAXPROCS=1 vlmtool bench data --data demo/data/train-00000-of-00001.parquet`,
	}
	s := c.Flags()
	s.StringArrayVar(&f.paths, "data", nil, dataset.Usage)
	cli.Choice(s, &f.preset, "preset", "shapes", "use the recipe `NAME`", train.PresetNames...)
	s.StringVar(&f.model, "model", "", "take the tokenizer from the model or decoder at `PATH`, instead of the preset's")
	s.DurationVar(&f.limit, "time-limit", defaultDataLimit, "measure for this `DURATION`, or an epoch if that is shorter")
	s.BoolVar(&f.noShuffle, "no-shuffle", false, "keep the order of the data")
	s.Var(&f.buffer, "shuffle-buffer", "mix the data in a buffer of `ROWS` rows")
	f.source.Declare(s)
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(c.Context(), a) }
	return c
}

func (f *dataOptions) run(ctx context.Context, a *cli.App) error {
	r, err := train.Preset(f.preset)
	switch {
	case err != nil:
		return usage.Error{Err: err}
	case cli.Empty(f.paths):
		return usage.Errorf("--data is missing: parquet files, a glob, a folder or hf://datasets/OWNER/NAME")
	case f.limit <= 0:
		return usage.Errorf("--time-limit cannot be %s", f.limit)
	case r.Decoder != "" && f.model == "":
		return usage.Errorf("preset %s uses the tokenizer of a pretrained decoder: run vlmtool fetch %s --out DECODER, then add --model DECODER", f.preset, r.Decoder)
	}
	r.ShuffleBuffer, r.Shuffle, r.Epochs = cmp.Or(f.buffer, r.ShuffleBuffer), !f.noShuffle, 1
	source := f.source.Open(nil)
	defer source.Close()
	files, err := source.Files(ctx, f.paths)
	if err != nil {
		return err
	}
	begun := time.Now()
	l, err := train.OpenLoader(ctx, files, r, f.model)
	if err != nil {
		return err
	}
	defer l.Dataset().Close()
	out, err := measureLoader(ctx, l, begun, f.limit)
	if err != nil {
		return err
	}
	out.Bench, out.Preset, out.Shuffled, out.Rows = "data", f.preset, r.Shuffle, l.Rows().Len()
	if a.JSON {
		return a.Result(out)
	}
	fmt.Fprintf(a.Stdout, "BenchmarkData/%s \t%d\t%.0f ns/op\t%.1f images/s\t%.1f images/s/core\t%.0f tokens/s\t%.0f ms-to-first\n",
		f.preset, out.Steps, out.Seconds*1e9/float64(max(1, out.Steps)), out.ImagesPerS, out.ImagesPerSCore, out.TokensPerS, out.FirstMS)
	return nil
}

// measureLoader counts what a loader delivers after its first step.
func measureLoader(ctx context.Context, l *loader.Loader, begun time.Time, limit time.Duration) (dataResult, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := dataResult{Cores: runtime.GOMAXPROCS(0)}
	images, tokens := 0, 0
	var first time.Time
	steps := l.Steps(ctx, loader.Cursor{})
	for loaded := range steps {
		if loaded.Err != nil {
			return out, loaded.Err
		}
		if first.IsZero() {
			first = time.Now()
			out.FirstMS = first.Sub(begun).Seconds() * 1000
			continue // what was prepared with it is counted, what follows is measured
		}
		out.Steps++
		for _, b := range loaded.Step.Batches {
			images += len(b.Images)
			tokens += b.Tokens
		}
		if time.Since(first) > limit {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return out, err
	}
	stop()
	if out.Steps == 0 {
		return out, fmt.Errorf("the data is a single step of %d rows: too little to measure", l.Rows().Len())
	}
	out.Seconds = time.Since(first).Seconds()
	for range steps { // until the loader has ended
	}
	out.ImagesPerS, out.TokensPerS = float64(images)/out.Seconds, float64(tokens)/out.Seconds
	out.ImagesPerSCore = out.ImagesPerS / float64(out.Cores)
	return out, nil
}
