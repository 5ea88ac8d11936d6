package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"patchwork/vlm"
	"patchwork/vlm/data"
)

func runEval(ctx context.Context, a *app, args []string) error {
	var model, path string
	o := vlm.EvalOptions{BadRow: warnBadRow}
	a.flags.StringVar(&model, "model", "", "model's folder")
	a.flags.StringVar(&path, "data", "", "parquet files, globs or folders, separated by commas")
	a.flags.IntVar(&o.Limit, "limit", 0, "only so many samples; 0 = all")
	a.flags.StringVar(&o.Control, "control", vlm.ControlNone, "none, shuffled (another sample's picture) or blank (a white one)")
	answers := a.flags.Bool("answers", false, "with --json: a line for every answer, before the result")
	a.deviceFlag()
	if err := a.parse(args, 0); err != nil {
		return err
	}
	switch {
	case model == "":
		return usagef("--model is missing: a model's folder")
	case path == "":
		return usagef("--data is missing: parquet files, a glob or a folder")
	case o.Limit < 0:
		return usagef("--limit cannot be %d", o.Limit)
	case !slices.Contains([]string{vlm.ControlNone, vlm.ControlShuffled, vlm.ControlBlank}, o.Control):
		return usagef("--control is %q, want none, shuffled or blank", o.Control)
	}
	files, err := data.Resolve(strings.Split(path, ","))
	if err != nil {
		return usageError{err}
	}
	o.Data = files
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	loaded, err := vlm.Load(model, dev)
	if err != nil {
		return err
	}
	if *answers && a.json {
		o.Answer = func(e vlm.EvalAnswer) { a.result(e) }
	}
	r, err := vlm.Evaluate(ctx, loaded, o)
	if err != nil {
		return err
	}
	if a.json {
		return a.result(r)
	}
	fmt.Fprintf(a.stdout, "exact match  %.2f%% of %d turns about %d samples\n", 100*r.ExactMatch, r.Turns, r.Samples)
	fmt.Fprintf(a.stdout, "NLL          %.4f nats a token\n", r.NLLPerToken)
	if r.Control != vlm.ControlNone {
		fmt.Fprintf(a.stdout, "control      %s pictures\n", r.Control)
	}
	return nil
}
