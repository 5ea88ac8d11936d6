// Package eval is vlmtool eval: scores of a model on data with known answers.
package eval

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/internal/durable"
	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/train"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/eval"
	"patchwork/vlm/importer"
	"patchwork/vlm/pretrained"
)

type evalFlags struct {
	bos                          string
	storage                      cli.Storage
	model, text, choices, output string
	data                         []string
	controls                     []string
	answers                      bool
	imageTokens                  int
	options                      eval.Options
	remote                       dataset.Flags
}

// Command is vlmtool eval.
func Command(a *cli.App) *cobra.Command {
	f := &evalFlags{}
	o := &f.options
	c := &cobra.Command{
		Use:   "eval --model DIR --data PATH",
		Short: "Score a model on questions with known answers",
		Long: `Asks each question of a data set alone with its image or sound and compares the answer
with the true one: exact match, and the negative log-likelihood (NLL) of the true answer in
nats a token. --control replaces images and sound, which shows what the model answers from
the question alone.`,
		Example: `  vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200
  # does the model use the image?
  vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200 --control none,blank,shuffled
  # multiple choice
  vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200 --choices red,green,blue`,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), a) },
	}
	s := c.Flags()
	s.StringVar(&f.model, "model", "", "load the model at `PATH`: a model's folder, for --text also a text-only decoder as a Hugging Face folder or GGUF file")
	s.StringArrayVar(&f.data, "data", nil, dataset.Usage)
	s.IntVar(&o.Limit, "limit", 0, "use only the first `N` samples; 0 = all")
	s.IntVar(&o.HoldOut, "holdout", 0, "use only every `N`th row: those that training on the same --data held out")
	cli.Choices(s, &f.controls, "control", []string{eval.ControlNone}, "replace images and sound by `CONTROL`, those of other samples, or white and silence", eval.ControlNone, eval.ControlShuffled, eval.ControlBlank)
	cli.ImageTokensFlag(s, &f.imageTokens)
	cli.Group(c, "Other scores", func(s *pflag.FlagSet) {
		s.BoolVar(&o.Captions, "captions", false, "generate complete answers and score their words: BLEU-4 and CIDEr-D")
		s.IntVar(&o.MaxNewTokens, "max-new-tokens", 128, "with --captions: maximum length of an answer in tokens")
		s.StringVar(&f.choices, "choices", "", "choose an answer by likelihood: 'letters' for the options that a question lists (A. cat), answers separated by commas, or a `FILE` with one per line")
		s.StringVar(&f.text, "text", "", "score a text `FILE` instead of --data: NLL and perplexity, without images")
		cli.BOSFlag(s, &f.bos, "with --text: ")
	})
	cli.Group(c, "Output", func(s *pflag.FlagSet) {
		s.StringVar(&f.output, "output", "", "write a line of JSON for every answer to `FILE`")
		s.BoolVar(&f.answers, "answers", false, "with --json: write these lines to standard output before the result")
	})
	cli.Group(c, "Data of the hub", f.remote.Declare)
	cli.Group(c, "Device", func(s *pflag.FlagSet) {
		f.storage.Declare(s)
		device.Flag(a, s)
	})
	return c
}

func (f *evalFlags) run(ctx context.Context, a *cli.App) error {
	if f.choices == "" && a.Changed("choices") {
		return usage.Errorf("--choices is empty; want 'letters', answers separated by commas, or a file")
	}
	source := f.remote.Open(nil)
	defer source.Close()
	if err := errors.Join(f.storage.Check(), cli.CheckImageTokens(f.imageTokens), f.check(ctx, source)); err != nil {
		return err
	}
	dev, err := device.Open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	model, err := pretrained.LoadWith(f.model, dev, f.storage.Options())
	if err != nil {
		return err
	}
	defer model.Close()
	switch {
	case f.text != "":
		return f.evalText(ctx, a, model)
	case model.Config.TextOnly():
		return usage.Errorf("--data: %s is a text-only decoder; train it on images with vlmtool train --decoder first, or score a text with --text", f.model)
	}
	if err := cli.SetImageTokens(&model.Config.Vision, f.imageTokens, f.model); err != nil {
		return err
	}
	return f.evalData(ctx, a, model)
}

func (f *evalFlags) check(ctx context.Context, source *dataset.Source) error {
	switch {
	case f.model == "":
		return usage.Errorf("--model is missing: a model's folder")
	case cli.Empty(f.data) && f.text == "":
		return usage.Errorf("--data is missing: parquet files, a glob or a folder")
	case !cli.Empty(f.data) && f.text != "":
		return usage.Errorf("--data and --text are both given; one is enough")
	case f.options.HoldOut < 0:
		return usage.Errorf("--holdout cannot be %d; 0 takes all rows", f.options.HoldOut)
	case f.options.Limit < 0:
		return usage.Errorf("--limit cannot be %d; 0 takes all samples", f.options.Limit)
	case f.options.MaxNewTokens < 1:
		return usage.Errorf("--max-new-tokens cannot be %d, want 1 or more", f.options.MaxNewTokens)
	}
	if !cli.Empty(f.data) {
		files, err := source.Files(ctx, f.data)
		if err != nil {
			return err
		}
		f.options.Data = files
	}
	return f.readChoices()
}

// readChoices reads --choices.
func (f *evalFlags) readChoices() error {
	switch f.choices {
	case "":
		return nil
	case "letters":
		f.options.Choices = eval.LetteredChoices
		return nil
	}
	list, separator := f.choices, ","
	var refused *smallfile.Error
	if text, err := smallfile.Read(f.choices, smallfile.Config); err == nil {
		list, separator = string(text), "\n"
	} else if errors.As(err, &refused) || !strings.Contains(f.choices, ",") {
		return usage.Errorf("--choices: %w; want 'letters', answers separated by commas, or a file", err)
	}
	var choices []string
	for c := range strings.SplitSeq(list, separator) {
		if c = strings.TrimSpace(c); c != "" && !slices.Contains(choices, c) {
			choices = append(choices, c)
		}
	}
	if len(choices) < 2 {
		return usage.Errorf("--choices %s names %d answers; want 2 or more", f.choices, len(choices))
	}
	f.options.Choices = eval.FixedChoices(choices)
	return nil
}

// maxText is the largest text that is scored, in bytes: a hundred times the usual test
// sets, ten times its size in memory and days of work on a CPU.
const maxText = 128 << 20

func (f *evalFlags) evalText(ctx context.Context, a *cli.App, l *vlm.Runner) error {
	text, err := smallfile.Read(f.text, maxText)
	if err != nil {
		return fmt.Errorf("--text: %w", err)
	}
	words, err := importer.DecodeText(text)
	if err != nil {
		return fmt.Errorf("--text: %s %w", f.text, err)
	}
	r, err := eval.RunText(ctx, l, words, f.bos)
	if err != nil {
		return fmt.Errorf("%s: %w", f.text, err)
	}
	if a.JSON {
		return a.Result(r)
	}
	fmt.Fprintf(a.Stdout, "NLL         %.4f nats per token over %s tokens\nperplexity  %.3f\n", r.NLLPerToken, terminal.Thousands(int64(r.Tokens)), r.Perplexity)
	return nil
}

// evalData evaluates once for each control.
func (f *evalFlags) evalData(ctx context.Context, a *cli.App, l *vlm.Runner) (failed error) {
	o := f.options
	if hasMedia, err := o.HasMedia(ctx); err != nil {
		return err
	} else if !hasMedia {
		slog.Warn("no row of the data has an image or sound; only text is scored")
	}
	if err := eval.CheckControls(ctx, o, f.controls); err != nil {
		return usage.Error{Err: err}
	}
	write := func(eval.TurnResult) error { return nil }
	switch {
	case f.output != "":
		file, err := durable.Create(f.output)
		if err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		defer func() {
			if failed != nil {
				failed = errors.Join(failed, file.Discard())
			} else if err := file.Commit(); err != nil {
				failed = fmt.Errorf("--output: %w", err)
			}
		}()
		lines := json.NewEncoder(file)
		lines.SetEscapeHTML(false)
		write = func(e eval.TurnResult) error { return lines.Encode(e) }
	case f.answers && a.JSON:
		write = func(e eval.TurnResult) error { return a.Result(e) }
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var failedWrite error // the first one
	o.Answer = func(e eval.TurnResult) {
		if failedWrite == nil {
			if failedWrite = write(e); failedWrite != nil {
				stop()
			}
		}
	}
	var results []eval.Result
	for i, control := range f.controls {
		o.Control, o.BadRow = control, nil
		if i == 0 {
			o.BadRow = train.WarnBadRow
		}
		r, err := eval.Run(ctx, l, o)
		if err = cmp.Or(failedWrite, err); err != nil {
			return err
		}
		results = append(results, r)
		if a.JSON {
			if err := a.Result(r); err != nil {
				return err
			}
		}
	}
	if !a.JSON {
		what := "images"
		if l.Config.Vision.None() {
			what = "sound"
		}
		printEval(a, what, results)
	}
	return nil
}

// printEval prints a column for every control, of what it replaces.
func printEval(a *cli.App, what string, results []eval.Result) {
	first := results[0]
	fmt.Fprintf(a.Stdout, "%d turns about %d samples\n", first.Turns, first.Samples)
	row := func(name string, value func(eval.Result) string) {
		fmt.Fprintf(a.Stdout, "%-24s", name)
		for _, r := range results {
			fmt.Fprintf(a.Stdout, "  %10s", value(r))
		}
		fmt.Fprintln(a.Stdout)
	}
	percent := func(x float64) string { return fmt.Sprintf("%.2f%%", 100*x) }
	if len(results) > 1 || first.Control != eval.ControlNone {
		row(what, func(r eval.Result) string {
			if r.Control == eval.ControlNone {
				return "true"
			}
			return r.Control
		})
	}
	row("exact match", func(r eval.Result) string { return percent(r.ExactMatch) })
	row("NLL, nats per token", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.NLLPerToken) })
	row("perplexity", func(r eval.Result) string { return fmt.Sprintf("%.3f", r.Perplexity) })
	if first.CaptionResult != nil {
		row("BLEU-4", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.BLEU4) })
		row("CIDEr-D", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.CIDErD) })
	}
	if first.ChoiceResult != nil {
		row("correct choice", func(r eval.Result) string { return percent(r.ChoiceResult.Accuracy) })
		row("  likelihood per token", func(r eval.Result) string { return percent(r.ChoiceResult.PerToken) })
		row("  by guessing", func(r eval.Result) string { return percent(r.ChoiceResult.Chance) })
	} else if f := first; a.Changed("choices") {
		fmt.Fprintf(a.Stdout, "none of %d questions has the true answer among its choices\n", f.Turns)
	}
}
