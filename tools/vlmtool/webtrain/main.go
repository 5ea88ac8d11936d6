//go:build js

// Webtrain trains the demo's model in a web page's worker, on WebGPU or else on the CPU: from random
// weights, by the recipe of train --preset shapes, on images that it draws itself. It writes no
// files. The worker, train/train-worker.js of package web, shows the page its messages:
//
//	device  the device, see package inpage
//	data    the numbers of images that were drawn
//	start   the number of parameters and of steps
//	step    the metrics of a step
//	scoring the number of questions that it is asked next
//	score   how many it answers correctly, before the first step and after the last
//	done    the run is over
//	failed  the message of the error that ended it
//
// The worker's global variable patchworkOptions has the settings; its function patchworkStop, which the
// program sets, ends the training early.
package main

import (
	"bytes"
	"context"
	"errors"
	"syscall/js"

	"patchwork/engine"
	"patchwork/tools/internal/shapes"
	"patchwork/tools/vlmtool/internal/inpage"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

func main() {
	if err := run(); err != nil {
		inpage.PostError(err)
	}
}

// options are patchworkOptions.
type options struct {
	device       string // "auto", "webgpu" or "cpu"
	steps        int
	images, held int // numbers of images to train on and to ask about
}

func readOptions() options {
	o := js.Global().Get("patchworkOptions")
	return options{o.Get("device").String(), o.Get("steps").Int(), o.Get("images").Int(), o.Get("held").Int()}
}

func run() error {
	o := readOptions()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	js.Global().Set("patchworkStop", js.FuncOf(func(js.Value, []js.Value) any {
		stop()
		return nil
	}))
	dev, reason, err := inpage.Open(o.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	inpage.PostDevice(dev, reason)
	held, rows, err := draw(o)
	if err != nil {
		return err
	}
	inpage.Post(map[string]any{"kind": "data", "images": o.images, "held": o.held})
	err = fit(ctx, dev, o, rows, held)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	inpage.Post(map[string]any{"kind": "done"})
	return nil
}

// draw makes the files that shapesdata writes with the same numbers of images.
func draw(o options) (held, rows data.File, err error) {
	g := shapes.New(1)
	file := func(name string, n int) (data.File, error) {
		var out bytes.Buffer
		w := data.NewWriter(&out)
		if err := errors.Join(g.WriteRows(w, n), w.Close()); err != nil {
			return nil, err
		}
		return data.InMemory(name, out.Bytes()), nil
	}
	if held, err = file("test", o.held); err != nil {
		return nil, nil, err
	}
	rows, err = file("train", o.images)
	return held, rows, err
}

// fit trains a model and examines it before and after.
func fit(ctx context.Context, dev engine.Device, o options, rows, held data.File) error {
	recipe, err := train.Preset("shapes")
	if err != nil {
		return err
	}
	recipe.Steps, recipe.ValEvery, recipe.SaveEvery = o.steps, 0, 0
	e := examiner{held: held}
	_, err = train.Run(ctx, train.Options{
		Recipe: recipe, Data: []data.File{rows}, ValData: []data.File{held}, Device: dev, Examine: e.examine,
		Observe: train.Observer{
			Start: func(i train.Info) {
				inpage.Post(map[string]any{"kind": "start", "steps": i.Steps, "parameters": i.Parameters})
			},
			Step: postStep,
			Warn: func(text string) { inpage.Post(map[string]any{"kind": "warning", "message": text}) },
		},
	})
	return err
}

// postStep sends the metrics of a step.
func postStep(m train.StepMetrics) {
	inpage.Post(map[string]any{
		"kind": "step", "step": m.Step, "loss": float64(m.Loss), "seconds": m.Seconds, "images": m.ImagesPerS, "tokens": m.TokensPerS,
		"memory": m.MemoryPeak,
	})
}
