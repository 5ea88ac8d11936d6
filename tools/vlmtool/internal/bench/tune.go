package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
	"patchwork/engine/tuned"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/train"
)

// tuneResult is tune's last line of JSON.
type tuneResult struct {
	Device   string `json:"device"`
	File     string `json:"file"`
	Measured int    `json:"measured"`
	Known    int    `json:"known"` // from an earlier run
	Skipped  int    `json:"skipped"`
	Changed  int    `json:"changed"` // choices that differ from the default of the device class
}

// maxTuneCall is the longest call that is tuned.
const maxTuneCall = 10 * time.Second

// TuneCommand is vlmtool tune.
func TuneCommand(a *cli.App) *cobra.Command {
	f := &options{rows: 1, recompute: "off", kernelFlags: kernelFlags{work: "all"}}
	var reset bool
	c := &cobra.Command{
		Use:   "tune",
		Short: "Find the fastest kernel variants of a GPU",
		Long: `Measures the variants of every kernel on a GPU at a model's shapes, interleaved, and keeps
the fastest in a file of the user's cache, which every later command reads. What was
measured before is not measured again.`,
		Example: `  vlmtool tune --device vulkan
  # the kernels of prefill for this model
  vlmtool tune --device vulkan:0 --preset smollm2-135m --work prefill --dtype bf16`,
		RunE: func(c *cobra.Command, _ []string) error { return f.tune(c.Context(), a, reset) },
	}
	s := c.Flags()
	s.BoolVar(&reset, "reset", false, "discard earlier measurements of the device")
	cli.Choice(s, &f.preset, "preset", "shapes", "measure at the shapes of the model `NAME`", train.PresetNames...)
	s.IntVar(&f.rows, "batch-size", 1, "rows of the training step")
	s.IntVar(&f.tokens, "seq-len", 0, "tokens per row; 0 = the preset's")
	f.workFlag(s)
	f.storage.DeclareDType(s)
	device.Flag(a, s)
	return c
}

func (f *options) tune(ctx context.Context, a *cli.App, reset bool) error {
	if f.rows < 1 || f.tokens < 0 {
		return usage.Errorf("--batch-size and --seq-len must be above 0")
	}
	if err := f.checkTokens(); err != nil {
		return err
	}
	r, dev, err := f.open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	tunable, ok := dev.(engine.Tunable)
	if !ok {
		return fmt.Errorf("%s has one variant of every kernel: nothing to choose; use --device vulkan[:N]", dev.Info().Device)
	}
	if reset {
		if err := tuned.Reset(dev.Info()); err != nil {
			return err
		}
	}
	file, err := tuned.Load(dev.Info())
	if err != nil {
		return err
	}
	cases, err := f.works(r, dev.Info().Kind)
	if err != nil {
		return err
	}
	return tuneCases(ctx, a, tunable, file, kernelbench.TuneCases(dev.Info(), cases))
}

// works are the cases of the chosen kinds of work on a kind of device.
func (f *options) works(r train.Recipe, kind string) (all []*kernelbench.Case, err error) {
	for _, work := range train.WorkKinds {
		if f.work != "all" && f.work != work {
			continue
		}
		recorded, err := train.RecordWork(r, work, kind, f.rows, f.tokens)
		if err != nil {
			return nil, err
		}
		all = joined(all, kernelbench.FromDispatches(work, recorded.Dispatches, &recorded.Step))
	}
	return all, nil
}

// tuneCases measures the cases that are not in the file, and saves it after every case.
func tuneCases(ctx context.Context, a *cli.App, dev engine.Tunable, file *tuned.File, cases []*kernelbench.Case) error {
	out := tuneResult{Device: dev.Info().Device}
	var err error
	if out.File, err = tuned.Path(dev.Info()); err != nil {
		return err
	}
	for _, c := range cases {
		if file.Has(c.Kernel.Bucket(c.Params, c.Storage)) {
			out.Known++
			continue
		}
		entry, err := kernelbench.Tune(ctx, dev, c, maxTuneCall)
		if skip := (*kernelbench.SkipError)(nil); errors.As(err, &skip) {
			out.Skipped++
			fmt.Fprintf(a.Stderr, "%s/%s: %v\n", c.Kernel.Name, c.Name, skip)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s/%s: %w", c.Kernel.Name, c.Name, err)
		}
		out.Measured++
		file.Add(entry)
		if err := file.Save(dev.Info()); err != nil {
			return err
		}
		if !a.JSON {
			fmt.Fprintf(a.Stdout, "%s/%s: %s\n", c.Kernel.Name, c.Name, chosen(entry))
		}
	}
	out.Changed = len(file.Choices())
	if a.JSON {
		return a.Result(out)
	}
	fmt.Fprintf(a.Stdout, "%d measured, %d known, %d skipped; %d choices differ from the default, in %s\n",
		out.Measured, out.Known, out.Skipped, out.Changed, out.File)
	return nil
}

// chosen formats a choice with the times of the variants.
func chosen(e tuned.Entry) string {
	name := func(v string) string {
		if v == "" {
			return "plain"
		}
		return v
	}
	var times []string
	for _, v := range slices.Sorted(maps.Keys(e.US)) {
		times = append(times, fmt.Sprintf("%s %.1f µs", name(v), e.US[v]))
	}
	if e.Variant == e.Default {
		return fmt.Sprintf("%s is the fastest, as by default (%s)", name(e.Variant), strings.Join(times, ", "))
	}
	return fmt.Sprintf("%s instead of %s (%s)", name(e.Variant), name(e.Default), strings.Join(times, ", "))
}
