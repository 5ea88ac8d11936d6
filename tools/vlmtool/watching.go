package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"patchwork/engine"
	"patchwork/tools/tensorboard"
	"patchwork/tools/watch"
	"patchwork/vlm/train"
)

// watching are those who follow a run: the terminal always, a page and
// TensorBoard where they are asked for.
type watching struct {
	run    *watch.Run
	view   *trainView
	server *watch.Server
	events *tensorboard.Writer
}

// checkWatching finds mistakes in the flags about watching.
func (f *trainFlags) checkWatching(a *app) error {
	if !(f.price >= 0 && f.peakTFLOPs >= 0) || math.IsInf(f.price, 1) || math.IsInf(f.peakTFLOPs, 1) || a.flags.Changed("peak-tflops") && f.peakTFLOPs == 0 {
		return usagef("--peak-tflops and --price-per-hour must be numbers above 0")
	}
	if f.listen == "" {
		if a.flags.Changed("listen") {
			return usagef("--listen is empty; 127.0.0.1:8080 is an address")
		}
		return nil
	}
	var err error
	if f.listen, err = watch.Address(f.listen); err != nil {
		return usagef("--listen: %v", err)
	}
	return nil
}

// watch opens what a run is followed by, before it begins.
func (f *trainFlags) watch(a *app, r train.Recipe, dev engine.Info) (_ *watching, err error) {
	o := watch.Options{Name: f.out, Preset: r.Preset, Version: version(), Device: dev, PeakFlops: 1e12 * f.peakTFLOPs}
	if f.peakTFLOPs == 0 {
		o.PeakFlops = 1e12 * knownPeak(dev.Name, r.DType)
	}
	if a.flags.Changed("price-per-hour") {
		o.PricePerHour = f.price
	}
	w := &watching{run: watch.New(o)}
	w.view = newTrainView(a, w.run, dev)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(err))
		}
	}()
	if f.listen != "" {
		if w.server, err = watch.Listen(f.listen, w.run); err != nil {
			return nil, fmt.Errorf("--listen: %w; another port, or port 0 for any, is free", err)
		}
		slog.Info("watch the run at " + w.server.URL)
		if w.server.Open {
			slog.Warn("--listen " + f.listen + ": whoever reaches this machine over the network can watch the run, its pictures and answers; there is no password")
		}
	}
	if f.tensorboard != "" {
		if w.events, err = tensorboard.Create(f.tensorboard); err != nil {
			return nil, fmt.Errorf("--tensorboard: %w", err)
		}
	}
	return w, nil
}

func (w *watching) observer() train.Observer {
	all := []train.Observer{w.run.Observer(), w.view.observer()} // the view shows what the run knows
	if w.events != nil {
		all = append(all, w.events.Observer(func(err error) {
			slog.Warn(fmt.Sprintf("--tensorboard: %v; no more is written", err))
		}))
	}
	return train.Observers(all...)
}

// close ends the watching of a run that ended with err.
func (w *watching) close(err error) error {
	w.view.end()
	switch {
	case err == nil:
		w.run.End(watch.Finished)
	case errors.Is(err, context.Canceled):
		w.run.End(watch.Interrupted)
	default:
		w.run.End(watch.Failed)
	}
	var failed error
	if w.server != nil {
		failed = w.server.Close()
	}
	if w.events != nil {
		failed = errors.Join(failed, w.events.Close())
	}
	return failed
}
