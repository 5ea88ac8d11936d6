package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/internal/smallfile"
	"patchwork/shaders"
	"patchwork/tools/report"
	"patchwork/vlm/train"
)

// An H100 SXM, which a dry run reckons with unless it is told of another device.
const (
	defaultName   = "H100"
	defaultMemory = 80 << 30
	defaultPrice  = 2.3 // dollars, what an hour of it is rented for
	// utilisation is the share of the peak that a training step is assumed to
	// reach where nothing says what it does: what PyTorch does with models of
	// this size.
	utilisation = 0.35
)

// measuring is how long steps are measured on a device that is here.
var measuring = 15 * time.Second

// defaultPeak is the H100's dense peak in TFLOP/s: float32 runs outside its
// tensor cores.
func defaultPeak(dtype string) float64 {
	if dtype == "f32" {
		return h100Single
	}
	return h100Half
}

// dryTarget is the device that a dry run reckons with.
type dryTarget struct {
	name   string
	memory int64
	report *report.Report // what was measured on such a device; nil = nothing
	dev    engine.Device  // nil where it is not here
	absent error          // why the device that was named is not here
}

func (t *dryTarget) close() {
	if t.dev != nil {
		t.dev.Close()
	}
}

// target is the device of the report that --report names, else the one that --device
// names, with its committed report where there is one, else an H100.
func (f *trainFlags) target(a *app) (*dryTarget, error) {
	if f.report != "" {
		text, err := smallfile.Read(f.report, smallfile.Config)
		if err != nil {
			return nil, fmt.Errorf("--report: %w", err)
		}
		r, err := report.Parse(text, f.report)
		if err != nil {
			return nil, fmt.Errorf("--report: %w", err)
		}
		return &dryTarget{name: r.Device.Name, memory: cmp.Or(r.Device.Memory, defaultMemory), report: r}, nil
	}
	t := &dryTarget{name: defaultName, memory: defaultMemory}
	find := defaultName
	if a.flags.Changed("device") {
		dev, err := a.openDevice()
		switch {
		case errors.Is(err, engine.ErrNoDevice), errors.Is(err, engine.ErrUnsupported):
			t.absent = err
		case err != nil:
			return nil, err
		default:
			info := dev.Info()
			t.dev, t.name, t.memory, find = dev, info.Device, info.Memory, info.Name
			if !a.flags.Changed("price-per-hour") {
				f.price = 0 // it is nobody's to rent
			}
		}
	}
	r, _, err := report.Find(vulkan.Reports, vulkan.ReportsDir, find)
	if err != nil {
		t.close()
		return nil, err
	}
	t.report = r
	return t, nil
}

// reckon finds a step's rate, and with it the hours and dollars.
func (f *trainFlags) reckon(ctx context.Context, e *train.Estimation, r train.Recipe, on *dryTarget) error {
	if err := f.rate(ctx, e, r, on); err != nil {
		return err
	}
	if e.Device = on.name; f.peakTFLOPs > 0 && on.dev == nil {
		e.Device = "" // --peak-tflops describes another
	}
	e.Hours = e.FlopsPerStep * float64(e.Steps) / e.FlopsPerSecond / 3600
	e.Dollars = e.Hours * f.price
	return nil
}

// rate is by --peak-tflops, else by a report, else measured, else assumed.
func (f *trainFlags) rate(ctx context.Context, e *train.Estimation, r train.Recipe, on *dryTarget) error {
	if f.peakTFLOPs > 0 {
		assumePeak(e, f.peakTFLOPs, "")
		return nil
	}
	if on.report != nil {
		rate, ok := on.report.Rate(report.Work{Preset: r.Preset, DType: r.DType, Flops: e.FlopsPerStep, Attention: e.AttentionFlops})
		switch {
		case ok:
			e.FlopsPerSecond, e.RateSource, e.RateMeasured = rate.PerSecond, rate.Source, true
			return nil
		case f.report != "":
			return fmt.Errorf("--report %s has no training step of %s in %s, and no products and attention in it", f.report, r.Preset, r.DType)
		}
	}
	if on.dev == nil {
		why := ""
		if on.absent != nil {
			why = fmt.Sprintf(" of an %s, as the device named is not here (%s)", defaultName, oneLine(on.absent))
		}
		assumePeak(e, defaultPeak(r.DType), why)
		return nil
	}
	measured, err := train.MeasureStep(ctx, on.dev, r, measuring)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		e.FlopsPerSecond, e.RateMeasured = measured.FlopsPerSecond, true
		e.RateSource = fmt.Sprintf("measured now: a %s on %s", measured.What, on.dev.Info().Name)
		return nil
	}
	info := on.dev.Info()
	why := fmt.Sprintf(" of %s; it could not be measured (%s)", info.Name, oneLine(err))
	assumePeak(e, cmp.Or(knownPeak(info.Name, r.DType), classPeak(info.Class)), why)
	return nil
}

// classPeak is a guess of the peak of a device that nothing is known of, in TFLOP/s.
func classPeak(c shaders.Class) float64 {
	switch c {
	case shaders.Discrete:
		return 20
	case shaders.Integrated:
		return 1
	}
	return 0.1
}

// assumePeak takes the part of a peak in TFLOP/s that steps are assumed to reach.
func assumePeak(e *train.Estimation, peak float64, why string) {
	e.FlopsPerSecond = 1e12 * peak * utilisation
	e.RateSource = fmt.Sprintf("assumed: %.0f%% of a peak of %g TFLOP/s%s", 100*utilisation, peak, why)
}
