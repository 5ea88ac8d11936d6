package main

import (
	"context"
	"errors"
	"regexp"
	"regexp/syntax"

	"patchwork/shaders"
	"patchwork/vlm/train"
)

type benchFlags struct {
	preset, model, filter, dtype string
	recompute                    string
	storage                      shaders.Type
	rows, tokens                 int
	prompt, fresh                int
	match                        *regexp.Regexp
	kernelFlags
}

var benchCommand = command{
	name: "bench", usage: "kernels|train|infer|embedder [flags]", about: "measure kernels, training steps and generation",
	text:     "Measures what the engine reaches on a device. Without --json the lines are those of Go's benchmarks, which benchstat reads.",
	examples: []example{{"vlmtool bench train", ""}, {"vlmtool bench kernels --filter matmul", ""}, {"vlmtool bench infer --new 32", ""}},
	subs: []command{
		{
			name: "bench kernels", usage: "[flags]", about: "every kernel, beside what the device can do at best",
			text: "Measures every kernel at the shapes of a preset's work, checks its results, and shows which part of the device's measured roofline it reaches. Without --preset it takes square products and a small step of shapes, and ends within half a minute.",
			examples: []example{
				{"vlmtool bench kernels", ""},
				{"vlmtool bench kernels --filter matmul --count 3 --json", "products alone, for programs"},
				{"vlmtool bench kernels --preset shapes --work decode --time-limit 20s --plot roofline.png", "one kind of work, with a picture"},
			},
			declare: declareBench((*benchFlags).kernels, "kernels"),
		},
		{
			name: "bench train", usage: "[flags]", about: "a training step",
			text: "Measures training steps of a preset with random weights, one picture a row: the median step, tokens/s, GFLOP/s, memory, and the step's kernels.",
			examples: []example{
				{"vlmtool bench train", ""},
				{"vlmtool bench train --preset shapes --batch-size 6 --seq-len 208", "as make bench does"},
			},
			declare: declareBench((*benchFlags).train, "train"),
		},
		{
			name: "bench infer", usage: "[flags]", about: "the time to the first token, and the rate of the others",
			text: "Measures a prompt's pass and generation, of a preset with random weights or of a model.",
			examples: []example{
				{"vlmtool bench infer --new 32", ""},
				{"vlmtool bench infer --model demo/model --prompt-tokens 80 --new 32", "a model of your own"},
			},
			declare: declareBench((*benchFlags).infer, "infer"),
		},
		{
			name: "bench embedder", usage: "[flags]", about: "the part of the model that reads patches",
			text: "Measures how many pictures a second pass through embedder and connector.",
			examples: []example{
				{"vlmtool bench embedder", ""},
				{"vlmtool bench embedder --model demo/model --batch-size 16", "16 pictures at a time"},
			},
			declare: declareBench((*benchFlags).embedder, "embedder"),
		},
	},
}

// declareBench gives each of bench's commands the flags that it reads. Those of
// --batch-size, --seq-len and --filter that it does not read are taken with a warning.
func declareBench(measure func(*benchFlags, context.Context, *app) error, what string) func(a *app) action {
	return func(a *app) action {
		f := &benchFlags{recompute: "off", rows: 1, prompt: 1, fresh: 1}
		a.choice(&f.preset, "preset", "", "NAME: model", train.PresetNames...)
		switch what {
		case "kernels", "train":
			a.flags.IntVar(&f.rows, "batch-size", 1, "rows of the training step")
			a.flags.IntVar(&f.tokens, "seq-len", 0, "tokens of a row; 0 = the preset's; rows too short for a picture are text alone")
		case "infer":
			a.modelFlag(f)
			a.flags.IntVar(&f.prompt, "prompt-tokens", 290, "tokens of the prompt, its picture's included")
			a.flags.IntVar(&f.fresh, "new", 128, "tokens to generate")
			a.unused("batch-size", "seq-len")
		case "embedder":
			a.modelFlag(f)
			a.flags.IntVar(&f.rows, "batch-size", 1, "pictures at a time")
			a.unused("seq-len")
		}
		switch what {
		case "kernels":
			a.flags.StringVar(&f.filter, "filter", "", "REGEXP: only the cases whose name matches")
			f.kernelFlags.add(a)
		case "train":
			a.choice(&f.recompute, "recompute", "off", "WORD: compute activations again in the backward pass", "on", "off")
			a.unused("filter")
		default:
			a.unused("filter")
		}
		a.dtypeFlag(&f.dtype)
		a.deviceFlag()
		return func(ctx context.Context) error {
			if err := f.check(); err != nil {
				return err
			}
			return measure(f, ctx, a)
		}
	}
}

// fault is what is wrong with a regular expression, without the expression.
func fault(err error) string {
	var e *syntax.Error
	if errors.As(err, &e) {
		return e.Code.String()
	}
	return err.Error()
}

func (a *app) modelFlag(f *benchFlags) {
	a.flags.StringVar(&f.model, "model", "", "PATH: a model instead of a preset with random weights")
}

func (f *benchFlags) check() (err error) {
	f.storage = storage(f.dtype)
	if f.match, err = regexp.Compile("(?i)" + f.filter); err != nil {
		return usagef("--filter %q is no regular expression: %s; a backslash before a sign takes it as it is", f.filter, fault(err))
	}
	if f.rows < 1 || f.tokens < 0 || f.prompt < 1 || f.fresh < 1 {
		return usagef("--batch-size, --seq-len, --prompt-tokens and --new must be above 0")
	}
	if f.model != "" && f.preset != "" {
		return usagef("--model and --preset are both given; one is enough")
	}
	return f.checkTokens()
}

// mostBenchTokens are more than any device's memory holds the activations of.
const mostBenchTokens = 1 << 21

func (f *benchFlags) checkTokens() error {
	if tokens := f.rows * f.tokens; tokens > mostBenchTokens {
		return usagef("--batch-size %d times --seq-len %d are %d tokens; the most is %d, as no device holds what they need", f.rows, f.tokens, tokens, mostBenchTokens)
	}
	return nil
}
