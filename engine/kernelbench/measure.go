package kernelbench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// Options of measuring.
type Options struct {
	Samples     int           // of a case, for statistics
	Time        time.Duration // spent on a case, all samples together
	MaxCallTime time.Duration // that one call may take
	// SamplingLimit ends a case's samples early, after the first; 0 = never.
	SamplingLimit time.Duration
}

// Result is a measured case.
type Result struct {
	*Case
	Variant string // "" for the plain one
	Class   string // of the device; "cpu" for the CPU forms
	Tuned   bool
	Checked string
	Runs    int             // in a sample
	Samples []time.Duration // each the median of its runs
	Min     time.Duration   // of all runs
}

// Median is the median of the samples.
func (r Result) Median() time.Duration {
	sorted := slices.Sorted(slices.Values(r.Samples))
	return sorted[len(sorted)/2]
}

// SkipError is a case that is not measured, with the reason.
type SkipError struct{ Reason string }

func (e *SkipError) Error() string { return "skipped: " + e.Reason }

// WrongError is a case whose results are not the reference's. It is not timed.
type WrongError struct{ Err error }

func (e *WrongError) Error() string {
	return "wrong results, not timed: " + e.Err.Error()
}
func (e *WrongError) Unwrap() error { return e.Err }

// Bench measures cases on one device.
type Bench struct {
	dev     engine.Device
	options Options
	checker checker
	gauges  *gauges
}

// New measures the device's roofline.
func New(ctx context.Context, dev engine.Device, o Options) (*Bench, error) {
	g, err := newGauges(ctx, dev)
	return &Bench{dev, o, checker{dev, map[string]string{}}, g}, err
}

// Roof is the device's roofline as measured so far: one of its figures is measured
// again with every case.
func (b *Bench) Roof() Roof { return b.gauges.roof() }

// Free releases the roofline's kernels.
func (b *Bench) Free() { b.gauges.free() }

// Measure checks and times a case. It returns a *SkipError when the device has too little
// memory or the case would take too long, a *WrongError when the result differs from the
// reference.
func (b *Bench) Measure(ctx context.Context, c *Case) (Result, error) {
	r := Result{Case: c}
	r.Variant, r.Tuned = variantOf(b.dev, c)
	r.Class = classOf(b.dev.Info())
	if least, _ := b.Roof().Least(c.Cost); least > b.options.MaxCallTime.Seconds() {
		return r, &SkipError{fmt.Sprintf("a call takes at least %.0f s here, but --case-time allows %.0f", least, b.options.MaxCallTime.Seconds())}
	}
	var err error
	if r.Checked, err = b.checker.check(ctx, c, r.Variant); err != nil {
		if reason := unsupportedReason(err); reason != "" {
			return r, &SkipError{reason}
		}
		if ctx.Err() != nil || errors.Is(err, engine.ErrDeviceLost) {
			return r, err
		}
		return r, &WrongError{err}
	}
	x, err := newCall(b.dev, c)
	if err == nil {
		defer x.free()
		err = x.fill()
	}
	if reason := unsupportedReason(err); reason != "" {
		return r, &SkipError{reason}
	}
	if err != nil {
		return r, err
	}
	if err := b.sample(ctx, x, &r); err != nil {
		return r, err
	}
	return r, b.gauges.remeasureNext(ctx)
}

// unsupportedReason is the message of an out-of-memory or unsupported error, "" for other
// errors.
func unsupportedReason(err error) string {
	if errors.Is(err, engine.ErrOutOfMemory) || errors.Is(err, engine.ErrUnsupported) {
		return err.Error()
	}
	return ""
}

// A case whose first run took up to this multiple of the allowed time runs again: the
// first run includes compilation and first touches of memory, and may have been
// disturbed.
const firstRunAllowance = 4

// sample times a call that is ready. One that takes longer than allowed is timed
// by a single run.
func (b *Bench) sample(ctx context.Context, x *call, r *Result) error {
	first, err := x.time(ctx)
	if err != nil {
		return err
	}
	var start time.Time
	if first <= firstRunAllowance*b.options.MaxCallTime {
		start = time.Now()
		if first, err = x.time(ctx); err != nil {
			return err
		}
	}
	if first > b.options.MaxCallTime {
		r.Min, r.Runs, r.Samples = first, 1, []time.Duration{first}
		return nil
	}
	wall := max(time.Since(start), first)
	each := b.options.Time / time.Duration(b.options.Samples)
	r.Min, r.Runs = first, int(min(max(each/max(wall, 1), 1), 1000))
	for len(r.Samples) < b.options.Samples {
		if b.options.SamplingLimit > 0 && len(r.Samples) > 0 && time.Since(start) > b.options.SamplingLimit {
			break
		}
		times := make([]time.Duration, r.Runs)
		for i := range times {
			if times[i], err = x.time(ctx); err != nil {
				return err
			}
			r.Min = min(r.Min, times[i])
		}
		slices.Sort(times)
		r.Samples = append(r.Samples, times[len(times)/2])
	}
	return nil
}

// variantOf is the variant that a device runs for a case.
func variantOf(dev engine.Device, c *Case) (name string, tuned bool) {
	if _, ok := dev.(engine.Tunable); !ok {
		return "", false
	}
	v, tuned := dev.Info().Choose(c.Kernel, c.Params, c.Storage)
	if v == nil {
		return "", false
	}
	return v.Name, tuned
}

// classOf names the device class that variants are chosen by.
func classOf(i engine.Info) string {
	if i.Kind == "cpu" {
		return "cpu"
	}
	return map[shaders.Class]string{shaders.Software: "software", shaders.Integrated: "integrated", shaders.Discrete: "discrete"}[i.Class]
}
