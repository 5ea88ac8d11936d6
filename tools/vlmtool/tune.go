package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
	"patchwork/engine/tuned"
	"patchwork/vlm/train"
)

// tuneResult is tune's last line of JSON.
type tuneResult struct {
	Device   string `json:"device"`
	File     string `json:"file"`
	Measured int    `json:"measured"`
	Known    int    `json:"known"` // measured by an earlier run
	Skipped  int    `json:"skipped"`
	Changed  int    `json:"changed"` // choices that differ from the class's own
}

// tuneMost is the longest call that is tuned.
const tuneMost = 10 * time.Second

var tuneCommand = command{
	name: "tune", usage: "[--device D] [--preset NAME] [--reset]", about: "find the fastest variants of the kernels, once for a device",
	text: "Lets the variants of every kernel take turns on a GPU at a model's shapes and keeps the fastest in a file of the user's cache, which every later command reads. What is measured already is not measured again.",
	examples: []example{
		{"vlmtool tune --device vulkan", ""},
		{"vlmtool tune --device vulkan:0 --preset smollm2-135m --work prefill --dtype bf16", "what answering with this model needs"},
	},
	declare: declareTune,
}

func declareTune(a *app) action {
	f := &benchFlags{rows: 1, recompute: "off", dtype: "f32", kernelFlags: kernelFlags{work: "all"}}
	reset := a.flags.Bool("reset", false, "forget what was measured on the device, and measure anew")
	a.choice(&f.preset, "preset", "shapes", "NAME: the model at whose shapes kernels are measured", train.PresetNames...)
	a.flags.IntVar(&f.rows, "batch-size", 1, "rows of the training step")
	a.flags.IntVar(&f.tokens, "seq-len", 0, "tokens of a row; 0 = the preset's")
	f.workFlag(a)
	a.dtypeFlag(&f.dtype)
	a.deviceFlag()
	return func(ctx context.Context) error { return f.tune(ctx, a, *reset) }
}

func (f *benchFlags) tune(ctx context.Context, a *app, reset bool) error {
	if f.rows < 1 || f.tokens < 0 {
		return usagef("--batch-size and --seq-len must be above 0")
	}
	if err := f.checkTokens(); err != nil {
		return err
	}
	r, err := f.recipe()
	if err != nil {
		return err
	}
	dev, err := a.openDevice()
	if err != nil {
		return err
	}
	defer dev.Close()
	tunable, ok := dev.(engine.Tunable)
	if !ok {
		return fmt.Errorf("%s has one form of every kernel: there is nothing to choose; --device vulkan[:N] names a GPU", dev.Info().Device)
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
	return a.tune(ctx, tunable, file, kernelbench.TuneCases(dev.Info(), cases))
}

// works are the cases of the chosen kinds of work on a kind of device.
func (f *benchFlags) works(r train.Recipe, kind string) (all []*kernelbench.Case, err error) {
	for _, work := range train.Works {
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

// tune measures what the file does not have yet, and saves after every case.
func (a *app) tune(ctx context.Context, dev engine.Tunable, file *tuned.File, cases []*kernelbench.Case) error {
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
		entry, err := kernelbench.Tune(ctx, dev, c, tuneMost)
		if skip := (*kernelbench.SkipError)(nil); errors.As(err, &skip) {
			out.Skipped++
			fmt.Fprintf(a.stderr, "%s/%s: %v\n", c.Kernel.Name, c.Name, skip)
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
		if !a.json {
			fmt.Fprintf(a.stdout, "%s/%s: %s\n", c.Kernel.Name, c.Name, chosen(entry))
		}
	}
	out.Changed = len(file.Choices())
	if a.json {
		return a.result(out)
	}
	fmt.Fprintf(a.stdout, "%d measured, %d known already, %d skipped; %d choices differ from the class's own, in %s\n",
		out.Measured, out.Known, out.Skipped, out.Changed, out.File)
	return nil
}

// chosen says what was chosen and the times it was chosen from.
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
		return fmt.Sprintf("stays with %s (%s)", name(e.Variant), strings.Join(times, ", "))
	}
	return fmt.Sprintf("%s in place of %s (%s)", name(e.Variant), name(e.Default), strings.Join(times, ", "))
}

// tuneDevice gives a device the choices that were measured on it.
func tuneDevice(dev engine.Device) error {
	tunable, ok := dev.(engine.Tunable)
	if !ok {
		return nil
	}
	file, err := tuned.Load(dev.Info())
	if choices := file.Choices(); len(choices) > 0 {
		tunable.SetChoices(choices)
	}
	return err
}
