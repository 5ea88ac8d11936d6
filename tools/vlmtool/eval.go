package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/importer"
	"patchwork/vlm/pretrained"
)

type evalFlags struct {
	dtype, bos                   string
	storage                      shaders.Type
	model, text, choices, output string
	data                         []string
	controls                     []string
	answers                      bool
	options                      eval.Options
}

var evalCommand = command{
	name: "eval", usage: "--model DIR --data PATH [flags]", about: "score a model on questions with known answers",
	text: "Asks each question of a data set alone about its picture and compares the answers with the true ones: exact match, and the true answer's negative log-likelihood (NLL) in nats a token. --control shows other pictures or none, which tells what is known from the question alone.",
	examples: []example{
		{"vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200", ""},
		{"vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200 --control none,blank,shuffled", "does it look at the picture?"},
		{"vlmtool eval --model demo/model --data 'demo/data/test-*.parquet' --limit 200 --choices red,green,blue", "choose among given answers"},
	},
	declare: declareEval,
}

func declareEval(a *app) action {
	f := &evalFlags{}
	o := &f.options
	a.flags.StringVar(&f.model, "model", "", "PATH: model's folder; for --text also a bare decoder: a Hugging Face folder or a GGUF file")
	a.flags.StringArrayVar(&f.data, "data", nil, dataUsage)
	a.flags.IntVar(&o.Limit, "limit", 0, "only so many samples; 0 = all")
	a.flags.IntVar(&o.HoldOut, "holdout", 0, "only every Nth row: those of the same --data that training held out")
	a.choices(&f.controls, "control", []string{eval.ControlNone}, "WORD: show the true pictures, other samples' or white ones", eval.ControlNone, eval.ControlShuffled, eval.ControlBlank)
	a.group("Other scores")
	a.flags.BoolVar(&o.Captions, "captions", false, "generate every answer to its end, and compare the words: BLEU-4 and CIDEr-D")
	a.flags.IntVar(&o.MaxNewTokens, "max-new-tokens", 128, "with --captions: longest answer, in tokens")
	a.flags.StringVar(&f.choices, "choices", "", "FILE: choose by likelihood: 'letters' for the options that a question lists (A. cat), or the answers themselves, separated by commas, or a file with one a line")
	a.flags.StringVar(&f.text, "text", "", "FILE: score a text file instead of --data: NLL and perplexity, without pictures")
	a.bosFlag(&f.bos, "with --text: ")
	a.group("Output")
	a.flags.StringVar(&f.output, "output", "", "FILE: file for a line of JSON for every answer")
	a.flags.BoolVar(&f.answers, "answers", false, "with --json: these lines on standard output, before the result")
	a.group("Where it runs")
	a.dtypeFlag(&f.dtype)
	a.deviceFlag()
	return func(ctx context.Context) error { return f.run(ctx, a) }
}

func (f *evalFlags) run(ctx context.Context, a *app) error {
	f.storage = storage(f.dtype)
	if f.choices == "" && a.flags.Changed("choices") {
		return usagef("--choices is empty; want 'letters', answers separated by commas, or a file")
	}
	if err := f.check(); err != nil {
		return err
	}
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	loaded, err := pretrained.LoadAs(f.model, dev, f.storage)
	if err != nil {
		return err
	}
	defer loaded.Close()
	switch {
	case f.text != "":
		return f.evalText(ctx, a, loaded)
	case loaded.Config.Vision.None():
		return usagef("--data: %s is a decoder that reads text alone; train it with vlmtool train --decoder first, or score a text with --text", f.model)
	}
	return f.evalData(ctx, a, loaded)
}

func (f *evalFlags) check() error {
	switch {
	case f.model == "":
		return usagef("--model is missing: a model's folder")
	case none(f.data) && f.text == "":
		return usagef("--data is missing: parquet files, a glob or a folder")
	case !none(f.data) && f.text != "":
		return usagef("--data and --text are both given; one is enough")
	case f.options.HoldOut < 0:
		return usagef("--holdout cannot be %d; 0 takes all rows", f.options.HoldOut)
	case f.options.Limit < 0:
		return usagef("--limit cannot be %d; 0 takes all samples", f.options.Limit)
	case f.options.MaxNewTokens < 1:
		return usagef("--max-new-tokens cannot be %d, want 1 or more", f.options.MaxNewTokens)
	}
	if !none(f.data) {
		files, err := data.Resolve(f.data)
		if err != nil {
			return usageError{err}
		}
		f.options.Data = files
	}
	return f.readChoices()
}

// readChoices turns --choices into what the evaluation asks for.
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
		return usagef("--choices: %w; want 'letters', answers separated by commas, or a file", err)
	}
	var choices []string
	for c := range strings.SplitSeq(list, separator) {
		if c = strings.TrimSpace(c); c != "" && !slices.Contains(choices, c) {
			choices = append(choices, c)
		}
	}
	if len(choices) < 2 {
		return usagef("--choices %s names %d answers; two are the least", f.choices, len(choices))
	}
	f.options.Choices = eval.FixedChoices(choices)
	return nil
}

// maxText bounds a text that is scored: a hundred times the usual test sets, in memory
// some ten times its size, and on a CPU days of work.
const maxText = 128 << 20

func (f *evalFlags) evalText(ctx context.Context, a *app, l *vlm.Runner) error {
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
	if a.json {
		return a.result(r)
	}
	fmt.Fprintf(a.stdout, "NLL         %.4f nats a token over %s tokens\nperplexity  %.3f\n", r.NLLPerToken, thousands(int64(r.Tokens)), r.Perplexity)
	return nil
}

// evalData evaluates once for each control.
func (f *evalFlags) evalData(ctx context.Context, a *app, l *vlm.Runner) (failed error) {
	o := f.options
	if pictured, err := o.Pictured(); err != nil {
		return err
	} else if !pictured {
		slog.Warn("no row of the data has a picture: what is scored is text alone")
	}
	if err := eval.CheckControls(o, f.controls); err != nil {
		return usageError{err}
	}
	tell := func(eval.TurnResult) error { return nil }
	switch {
	case f.output != "":
		file, err := os.Create(f.output)
		if err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		defer func() { failed = errors.Join(failed, file.Close()) }()
		lines := json.NewEncoder(file)
		lines.SetEscapeHTML(false)
		tell = func(e eval.TurnResult) error { return lines.Encode(e) }
	case f.answers && a.json:
		tell = func(e eval.TurnResult) error { return a.result(e) }
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var written error // the first
	o.Answer = func(e eval.TurnResult) {
		if written == nil {
			if written = tell(e); written != nil {
				stop()
			}
		}
	}
	var results []eval.Result
	for i, control := range f.controls {
		o.Control, o.BadRow = control, nil
		if i == 0 {
			o.BadRow = warnBadRow
		}
		r, err := eval.Run(ctx, l, o)
		if err = cmp.Or(written, err); err != nil {
			return err
		}
		results = append(results, r)
		if a.json {
			if err := a.result(r); err != nil {
				return err
			}
		}
	}
	if !a.json {
		printEval(a, results)
	}
	return nil
}

// printEval prints a column for every control.
func printEval(a *app, results []eval.Result) {
	first := results[0]
	fmt.Fprintf(a.stdout, "%d turns about %d samples\n", first.Turns, first.Samples)
	row := func(name string, value func(eval.Result) string) {
		fmt.Fprintf(a.stdout, "%-24s", name)
		for _, r := range results {
			fmt.Fprintf(a.stdout, "  %10s", value(r))
		}
		fmt.Fprintln(a.stdout)
	}
	percent := func(x float64) string { return fmt.Sprintf("%.2f%%", 100*x) }
	if len(results) > 1 || first.Control != eval.ControlNone {
		row("pictures", func(r eval.Result) string {
			if r.Control == eval.ControlNone {
				return "true"
			}
			return r.Control
		})
	}
	row("exact match", func(r eval.Result) string { return percent(r.ExactMatch) })
	row("NLL, nats a token", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.NLLPerToken) })
	row("perplexity", func(r eval.Result) string { return fmt.Sprintf("%.3f", r.Perplexity) })
	if first.CaptionResult != nil {
		row("BLEU-4", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.BLEU4) })
		row("CIDEr-D", func(r eval.Result) string { return fmt.Sprintf("%.4f", r.CIDErD) })
	}
	if first.ChoiceResult != nil {
		row("right choice", func(r eval.Result) string { return percent(r.ChoiceResult.Accuracy) })
		row("  likelihood per token", func(r eval.Result) string { return percent(r.ChoiceResult.PerToken) })
		row("  by guessing", func(r eval.Result) string { return percent(r.ChoiceResult.Chance) })
	} else if f := first; a.flags.Changed("choices") {
		fmt.Fprintf(a.stdout, "no question of %d has choices with the true answer among them\n", f.Turns)
	}
}
