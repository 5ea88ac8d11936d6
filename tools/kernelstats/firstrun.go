package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/shaders"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// Sizes of the work that is run, small since only what it takes the first time counts.
const (
	firstTokens = 300 // of a training step's row, and of a prompt: an image and text
	firstNew    = 4   // tokens
)

// printFirstRuns measures what programs take longer the first time that they run than the
// second, with an empty cache and with what the first process left: a driver such as
// lavapipe's compiles a kernel when it first runs. It needs a device that runs programs.
func printFirstRuns(ctx context.Context, w io.Writer, number int, s selection, markdown bool) error {
	dir, err := os.MkdirTemp("", "kernelstats")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	row := "%-12s %-34s %8.2f s %8.2f s %8.2f s\n"
	if markdown {
		row = "| %s | %s | %.2f s | %.2f s | %.2f s |\n"
	} else {
		fmt.Fprintf(w, "%-12s %-34s %10s %10s %10s\n", "chip", "program", "cold", "processor", "cached")
	}
	for i, p := range programs(s) {
		// Mesa's own cache and ours are in these folders.
		cache := fmt.Sprintf("%s/%d", dir, i)
		for name, value := range map[string]string{"MESA_SHADER_CACHE_DISABLE": "false", "MESA_SHADER_CACHE_DIR": cache, "XDG_CACHE_HOME": cache} {
			os.Setenv(name, value)
		}
		var extra [2]cost
		var info engine.Info
		for n := range extra {
			if extra[n], info, err = firstRun(ctx, number, p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		fmt.Fprintf(w, row, chip(info), p.name, extra[0].time.Seconds(), extra[0].processor.Seconds(), extra[1].time.Seconds())
	}
	return nil
}

// cost is the time that a run takes, and that of the processor's cores.
type cost struct{ time, processor time.Duration }

// firstRun returns how much more the first run of a program takes than the next ones.
func firstRun(ctx context.Context, number int, p program) (extra cost, info engine.Info, err error) {
	recipe, err := train.Preset(p.selection.presets[0])
	if err != nil {
		return extra, info, err
	}
	recipe.DType = p.selection.dtypes[0]
	dev, err := vulkan.Open(number)
	if err != nil {
		return extra, info, err
	}
	defer dev.Close()
	run, stop, err := prepare(ctx, dev, recipe, p.selection.works[0] == "train")
	if err != nil {
		return extra, info, err
	}
	defer stop()
	var runs [3]cost
	for i := range runs {
		before := processorTime()
		if runs[i].time, err = run(); err != nil {
			return extra, info, err
		}
		runs[i].processor = processorTime() - before
	}
	extra.time = max(runs[0].time-min(runs[1].time, runs[2].time), 0)
	extra.processor = max(runs[0].processor-min(runs[1].processor, runs[2].processor), 0)
	return extra, dev.Info(), nil
}

// prepare returns a function that takes a training step, or generates an answer.
func prepare(ctx context.Context, dev engine.Device, r train.Recipe, training bool) (run func() (time.Duration, error), stop func(), err error) {
	if training {
		b, err := train.NewBench(dev, r, 1, firstTokens)
		if err != nil {
			return nil, nil, err
		}
		return func() (time.Duration, error) {
			t, _, err := b.Step(ctx)
			return t, err
		}, b.Close, nil
	}
	t, _ := shaders.ParseType(r.DType)
	model, err := train.RandomModel(dev, r, pretrained.LoadOptions{Type: t})
	if err != nil {
		return nil, nil, err
	}
	b, err := generate.NewInferBench(model, firstTokens, firstNew)
	if err != nil {
		return nil, nil, err
	}
	return func() (time.Duration, error) {
		total, err := b.Prefill(ctx)
		for range firstNew {
			if err == nil {
				var t time.Duration
				t, err = b.Decode(ctx)
				total += t
			}
		}
		return total, err
	}, func() { b.Close() }, nil
}
