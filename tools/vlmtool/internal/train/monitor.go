package train

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"patchwork/engine"
	"patchwork/tools/internal/listen"
	"patchwork/tools/internal/tensorboard"
	"patchwork/tools/internal/watch"
	"patchwork/tools/vlmtool/internal/buildinfo"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/train"
)

// monitor shows a run: on the terminal, and on the page and in TensorBoard files where
// flags ask for them.
type monitor struct {
	run    *watch.Run
	line   *progress
	server *listen.Server
	events *tensorboard.Writer
}

// checkMonitor checks the flags of monitoring.
func (f *options) checkMonitor(a *cli.App) error {
	if !(f.price >= 0 && f.peakTFLOPs >= 0) || math.IsInf(f.price, 1) || math.IsInf(f.peakTFLOPs, 1) || a.Changed("peak-tflops") && f.peakTFLOPs == 0 {
		return usage.Errorf("--peak-tflops and --price-per-hour must be numbers above 0")
	}
	if f.listen == "" {
		if a.Changed("listen") {
			return usage.Errorf("--listen is empty; want an address such as 127.0.0.1:8080")
		}
		return nil
	}
	var err error
	if f.listen, err = listen.Address(f.listen); err != nil {
		return usage.Errorf("--listen: %v", err)
	}
	return nil
}

// startMonitor opens the page and the event files before the run starts.
func (f *options) startMonitor(a *cli.App, r train.Recipe, dev engine.Info) (_ *monitor, err error) {
	o := watch.Options{Name: f.out, Preset: r.Preset, Version: buildinfo.Version(), Device: dev, PeakFlops: 1e12 * f.peakTFLOPs}
	if f.peakTFLOPs == 0 {
		o.PeakFlops = 1e12 * device.KnownPeak(dev.Name, r.DType)
	}
	if a.Changed("price-per-hour") {
		o.PricePerHour = f.price
	}
	o.PeakFlops *= float64(a.World.Size())
	o.PricePerHour *= float64(a.World.Size())
	m := &monitor{run: watch.New(o)}
	m.line = newProgress(a, m.run, dev)
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(err))
		}
	}()
	if f.listen != "" {
		if m.server, err = watch.Listen(f.listen, m.run); err != nil {
			return nil, fmt.Errorf("--listen: %w; use another port, or port 0 for any", err)
		}
		slog.Info("watch the run at " + m.server.URL)
		if m.server.Open {
			slog.Warn("--listen " + f.listen + ": anyone who can reach this machine over the network can see the run, its images and answers; there is no password")
		}
	}
	if f.tensorboard != "" {
		if m.events, err = tensorboard.Create(f.tensorboard); err != nil {
			return nil, fmt.Errorf("--tensorboard: %w", err)
		}
	}
	return m, nil
}

func (m *monitor) observer() train.Observer {
	all := []train.Observer{m.run.Observer(), m.line.observer()} // in this order: the line shows the run's state
	if m.events != nil {
		all = append(all, m.events.Observer(func(err error) {
			slog.Warn(fmt.Sprintf("--tensorboard: %v; no more events are written", err))
		}))
	}
	return train.MultiObserver(all...)
}

// close ends the monitoring of a run that ended with err.
func (m *monitor) close(err error) error {
	m.line.end()
	switch {
	case err == nil:
		m.run.End(watch.Finished)
	case errors.Is(err, context.Canceled):
		m.run.End(watch.Interrupted)
	default:
		m.run.End(watch.Failed)
	}
	var failed error
	if m.server != nil {
		failed = m.server.Close()
	}
	if m.events != nil {
		failed = errors.Join(failed, m.events.Close())
	}
	return failed
}
