package train

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
	"patchwork/tools/internal/report"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/errtext"
	"patchwork/vlm/train"
)

// The device of an estimate without --device: an H100 SXM.
const (
	defaultName   = "H100"
	defaultMemory = 80 << 30
	defaultPrice  = 2.3 // dollars an hour, rented
	// utilisation is the fraction of the peak that a training step is assumed to
	// reach where nothing was measured: that of PyTorch with models of this size.
	utilisation = 0.35
)

// measureTime is how long steps are measured on a device of this machine.
var measureTime = 15 * time.Second

// target is the device of an estimate.
type target struct {
	name   string
	memory int64
	report *report.Report // measured on such a device; nil = none
	dev    engine.Device  // nil where it is not in this machine
	absent error          // why the named device cannot be opened
}

func (t *target) close() {
	if t.dev != nil {
		t.dev.Close()
	}
}

// target is the device of --report, else that of --device, with its committed report
// where there is one, else an H100.
func (f *options) target(a *cli.App) (*target, error) {
	if f.report != "" {
		text, err := smallfile.Read(f.report, smallfile.Config)
		if err != nil {
			return nil, fmt.Errorf("--report: %w", err)
		}
		r, err := report.Parse(text, f.report)
		if err != nil {
			return nil, fmt.Errorf("--report: %w", err)
		}
		return &target{name: r.Device.Name, memory: cmp.Or(r.Device.Memory, defaultMemory), report: r}, nil
	}
	t := &target{name: defaultName, memory: defaultMemory}
	find := defaultName
	if a.Changed("device") {
		dev, err := device.Open(a)
		switch {
		case errors.Is(err, engine.ErrNoDevice), errors.Is(err, engine.ErrUnsupported):
			t.absent = err
		case err != nil:
			return nil, err
		default:
			info := dev.Info()
			t.dev, t.name, t.memory, find = dev, info.Device, info.Memory, info.Name
			if !a.Changed("price-per-hour") {
				f.price = 0 // not rented
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

// estimate adds the rate of a step, the hours and the dollars.
func (f *options) estimate(ctx context.Context, e *train.Estimation, r train.Recipe, on *target) error {
	if err := f.rate(ctx, e, r, on); err != nil {
		return err
	}
	if e.Device = on.name; f.peakTFLOPs > 0 && on.dev == nil {
		e.Device = "" // --peak-tflops is another device's
	}
	e.Hours = e.FlopsPerStep * float64(e.Steps) / e.FlopsPerSecond / 3600
	e.Dollars = e.Hours * f.price
	return nil
}

// rate is that of --peak-tflops, else of a report, else measured, else assumed.
func (f *options) rate(ctx context.Context, e *train.Estimation, r train.Recipe, on *target) error {
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
			return fmt.Errorf("--report %s has neither a training step of %s in %s nor matmuls and attention", f.report, r.Preset, r.DType)
		}
	}
	if on.dev == nil {
		why := ""
		if on.absent != nil {
			why = fmt.Sprintf(" of an %s, since the named device is not available (%s)", defaultName, errtext.Line(on.absent))
		}
		assumePeak(e, device.H100Peak(r.DType), why)
		return nil
	}
	measured, err := train.MeasureStep(ctx, on.dev, r, measureTime)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		e.FlopsPerSecond, e.RateMeasured = measured.FlopsPerSecond, true
		e.RateSource = fmt.Sprintf("measured now: a %s on %s", measured.Workload, on.dev.Info().Name)
		return nil
	}
	info := on.dev.Info()
	why := fmt.Sprintf(" of %s; it could not be measured (%s)", info.Name, errtext.Line(err))
	assumePeak(e, cmp.Or(device.KnownPeak(info.Name, r.DType), classPeak(info.Class)), why)
	return nil
}

// classPeak is a guess of an unknown device's peak in TFLOP/s.
func classPeak(c shaders.Class) float64 {
	switch c {
	case shaders.Discrete:
		return 20
	case shaders.Integrated:
		return 1
	}
	return 0.1
}

// assumePeak estimates the rate from a peak in TFLOP/s.
func assumePeak(e *train.Estimation, peak float64, why string) {
	e.FlopsPerSecond = 1e12 * peak * utilisation
	e.RateSource = fmt.Sprintf("assumed: %.0f%% of a peak of %g TFLOP/s%s", 100*utilisation, peak, why)
}
