// Package bench is vlmtool bench and vlmtool tune: measurements of kernels, training steps
// and generation.
package bench

import (
	"context"
	"errors"
	"regexp"
	"regexp/syntax"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

type options struct {
	preset, model, filter   string
	recompute               string
	storage                 cli.Storage
	rows, tokens, loraRank  int
	promptTokens, newTokens int
	match                   *regexp.Regexp
	kernelFlags
}

// Command is vlmtool bench.
func Command(a *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Benchmark kernels, training steps, generation and data",
		Long: `Benchmarks a device. Without --json the output is in the format of Go's benchmarks, which
benchstat reads.`,
		Example: `  vlmtool bench train
  vlmtool bench kernels --filter matmul
  vlmtool bench infer --new 32`,
	}
	c.AddCommand(kernelsCommand(a), trainCommand(a), inferCommand(a), embedderCommand(a), dataCommand(a))
	return c
}

func kernelsCommand(a *cli.App) *cobra.Command {
	return newCommand(a, (*options).kernels, &cobra.Command{
		Use:   "kernels",
		Short: "Benchmark every kernel against the device's roofline",
		Long: `Measures every kernel at the shapes of a preset, checks its results, and reports the
fraction of the device's measured roofline. Without --preset it measures square matmuls and
a small step of shapes, and ends within 30 seconds.`,
		Example: `  vlmtool bench kernels
  # only matmuls, as JSON
  vlmtool bench kernels --filter matmul --count 3 --json
  # one kind of work, with a plot
  vlmtool bench kernels --preset shapes --work decode --time-limit 20s --plot roofline.png`,
	}, func(s *pflag.FlagSet, f *options) {
		s.IntVar(&f.rows, "batch-size", 1, "rows of the training step")
		s.IntVar(&f.tokens, "seq-len", 0, "tokens per row; 0 = the preset's; rows too short for an image have only text")
		s.StringVar(&f.filter, "filter", "", "measure only the cases whose name matches `REGEXP`")
		f.kernelFlags.add(s)
	})
}

func trainCommand(a *cli.App) *cobra.Command {
	return newCommand(a, (*options).train, &cobra.Command{
		Use:   "train",
		Short: "Benchmark a training step",
		Long: `Measures training steps of a preset with random weights, one image a row: the median step,
tokens/s, GFLOP/s, memory, and the kernels of a step.`,
		Example: `  vlmtool bench train
  # as make bench does
  vlmtool bench train --preset shapes --batch-size 6 --seq-len 208
  # adapters on a decoder in 4 bits
  vlmtool bench train --preset smollm2-135m --seq-len 512 --lora-rank 16 --weights q4_0`,
	}, func(s *pflag.FlagSet, f *options) {
		s.IntVar(&f.rows, "batch-size", 1, "rows of the training step")
		s.IntVar(&f.tokens, "seq-len", 0, "tokens per row; 0 = the preset's; rows too short for an image have only text")
		cli.Choice(s, &f.recompute, "recompute", "off", "recompute activations in the backward pass", "on", "off")
		s.IntVar(&f.loraRank, "lora-rank", 0, "train adapters of this `RANK` on a frozen decoder, and the embedder; 0 = everything")
		cli.Choice(s, &f.storage.Weights, "weights", "", "with --lora-rank: store the frozen matrices as `TYPE`", pretrained.WeightsNames[1:]...)
		cli.Ignored(s, "filter")
	})
}

func inferCommand(a *cli.App) *cobra.Command {
	return newCommand(a, (*options).infer, &cobra.Command{
		Use:   "infer",
		Short: "Benchmark the time to the first token and the decode rate",
		Long:  "Measures prefill and decoding of a preset with random weights, or of a model.",
		Example: `  vlmtool bench infer --new 32
  # a model of your own
  vlmtool bench infer --model demo/model --prompt-tokens 80 --new 32`,
	}, func(s *pflag.FlagSet, f *options) {
		f.modelFlag(s)
		s.IntVar(&f.promptTokens, "prompt-tokens", 290, "tokens of the prompt, those of its image included")
		s.IntVar(&f.newTokens, "new", 128, "tokens to generate")
		f.storage.DeclareWeights(s)
		f.storage.DeclareCache(s)
		cli.Ignored(s, "batch-size", "seq-len", "filter")
	})
}

func embedderCommand(a *cli.App) *cobra.Command {
	return newCommand(a, (*options).embedder, &cobra.Command{
		Use:   "embedder",
		Short: "Benchmark the image embedder",
		Long:  "Measures images/s of embedder and connector.",
		Example: `  vlmtool bench embedder
  # 16 images at a time
  vlmtool bench embedder --model demo/model --batch-size 16`,
	}, func(s *pflag.FlagSet, f *options) {
		f.modelFlag(s)
		s.IntVar(&f.rows, "batch-size", 1, "images at a time")
		cli.Ignored(s, "seq-len", "filter")
	})
}

// newCommand adds a benchmark's own flags and the common ones. A flag of its siblings that
// has no effect on it is accepted with a warning.
func newCommand(a *cli.App, measure func(*options, context.Context, *cli.App) error, c *cobra.Command, declare func(*pflag.FlagSet, *options)) *cobra.Command {
	f := &options{recompute: "off", rows: 1, promptTokens: 1, newTokens: 1}
	s := c.Flags()
	cli.Choice(s, &f.preset, "preset", "", "use the model `NAME`", train.PresetNames...)
	declare(s, f)
	f.storage.DeclareDType(s)
	device.Flag(a, s)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return measure(f, c.Context(), a)
	}
	return c
}

// regexpError is the reason of a syntax error, without the expression.
func regexpError(err error) string {
	var e *syntax.Error
	if errors.As(err, &e) {
		return e.Code.String()
	}
	return err.Error()
}

func (f *options) modelFlag(s *pflag.FlagSet) {
	s.StringVar(&f.model, "model", "", "load the model at `PATH` instead of a preset with random weights")
}

func (f *options) check() (err error) {
	if f.match, err = regexp.Compile("(?i)" + f.filter); err != nil {
		return usage.Errorf("--filter %q is not a valid regular expression: %s; escape special characters with a backslash", f.filter, regexpError(err))
	}
	if f.rows < 1 || f.tokens < 0 || f.promptTokens < 1 || f.newTokens < 1 {
		return usage.Errorf("--batch-size, --seq-len, --prompt-tokens and --new must be above 0")
	}
	if f.model != "" && f.preset != "" {
		return usage.Errorf("--model and --preset are both given; one is enough")
	}
	if err := f.storage.Check(); err != nil {
		return err
	}
	return f.checkTokens()
}

// maxTokens is more tokens than any device's memory has activations for.
const maxTokens = 1 << 21

func (f *options) checkTokens() error {
	if tokens := f.rows * f.tokens; tokens > maxTokens {
		return usage.Errorf("--batch-size %d times --seq-len %d are %d tokens; the maximum is %d, since no device holds more", f.rows, f.tokens, tokens, maxTokens)
	}
	return nil
}
