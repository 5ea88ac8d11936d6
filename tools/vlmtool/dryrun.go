package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/internal/smallfile"
	"patchwork/tools/report"
	"patchwork/vlm"
)

// An H100 SXM, which a dry run reckons with unless it is told of another device.
const (
	defaultName   = "H100"
	defaultMemory = 80 << 30
	defaultPrice  = 2.3 // dollars, what an hour of it is rented for
	// utilisation is the share of the peak that a training step is assumed to
	// reach where no report says what it does: what PyTorch does with models of
	// this size.
	utilisation = 0.35
)

// defaultPeak is the H100's dense peak in TFLOP/s: float32 runs outside its
// tensor cores.
func defaultPeak(dtype string) float64 {
	if dtype == "f32" {
		return h100Single
	}
	return h100Half
}

// The data that the presets of pretrained decoders are meant for: FineVision's
// descriptions, every 10th sample held out.
const (
	dataSamples = 1_150_000
	dataHeldOut = 0.1
)

func (f *trainFlags) runDry(a *app, r vlm.Recipe) error {
	measured, room, err := f.measured(a)
	if err != nil {
		return err
	}
	if f.decoder != "" {
		var err error
		if r, err = r.WithDecoder(f.decoder); err != nil {
			return err
		}
	}
	kept, err := vlm.Estimate(r, false)
	if err != nil {
		return err
	}
	again, err := vlm.Estimate(r, true)
	if err != nil {
		return err
	}
	e := kept
	if r.Recompute == "on" || r.Recompute == "auto" && !kept.MemoryBytes.Fits(room) {
		e = again
	}
	perEpoch := dataSamples * (1 - dataHeldOut) * float64(e.SampleTokens) / float64(e.TokensPerStep)
	if r.Epochs > 0 {
		e.Steps = max(1, int(float64(r.Epochs)*perEpoch))
	}
	if err := f.reckon(&e, r, measured); err != nil {
		return err
	}
	if a.json {
		return a.result(e)
	}
	fmt.Fprintf(a.stdout, "parameters       %s\n", thousands(e.Parameters))
	fmt.Fprintf(a.stdout, "tokens per step  %s\n", thousands(int64(e.TokensPerStep)))
	fmt.Fprintf(a.stdout, "work per step    %.4g TFLOP, of samples of %d tokens\n", e.FlopsPerStep/1e12, e.SampleTokens)
	printMemory(a.stdout, e)
	if e.Recompute {
		fmt.Fprintf(a.stdout, "                 with activations recomputed; %s with all of them kept", engine.Bytes(kept.MemoryBytes.Total))
	} else {
		fmt.Fprintf(a.stdout, "                 with all activations kept; %s with --recompute on", engine.Bytes(again.MemoryBytes.Total))
	}
	fmt.Fprintf(a.stdout, "; the device has %s\n", engine.Bytes(room))
	fmt.Fprintf(a.stdout, "%-16s %.3g hours, $%.2f at %.3g TFLOP/s and $%g an hour\n",
		fmt.Sprintf("%d steps", e.Steps), e.Hours, e.Dollars, e.FlopsPerSecond/1e12, f.price)
	fmt.Fprintf(a.stdout, "                 this rate is %s\n", e.RateSource)
	if r.Decoder != "" {
		fmt.Fprintf(a.stdout, "                 %.2f passes over %.2f M samples\n", float64(e.Steps)/perEpoch, dataSamples*(1-dataHeldOut)/1e6)
	}
	return nil
}

// reckon finds a step's rate, and with it the hours and dollars.
func (f *trainFlags) reckon(e *vlm.Estimation, r vlm.Recipe, measured *report.Report) error {
	peak := cmp.Or(f.peakTFLOPs, defaultPeak(r.DType))
	e.FlopsPerSecond, e.RateSource = 1e12*peak*utilisation, fmt.Sprintf("assumed: %.0f%% of a peak of %g TFLOP/s", 100*utilisation, peak)
	if measured != nil && f.peakTFLOPs == 0 {
		rate, ok := measured.Rate(report.Work{Preset: r.Preset, DType: r.DType, Flops: e.FlopsPerStep, Attention: e.AttentionFlops})
		switch {
		case ok:
			e.FlopsPerSecond, e.RateSource, e.RateMeasured = rate.PerSecond, rate.Source, true
		case f.report != "":
			return fmt.Errorf("--report %s has no training step of %s in %s, and no products and attention in it", f.report, r.Preset, r.DType)
		}
	}
	e.Hours = e.FlopsPerStep * float64(e.Steps) / e.FlopsPerSecond / 3600
	e.Dollars = e.Hours * f.price
	return nil
}

// measured is the report to reckon with, nil where there is none, and the memory of
// its device: the report that --report names, else the committed one of the device
// that --device names, else that of an H100.
func (f *trainFlags) measured(a *app) (*report.Report, int64, error) {
	if f.report != "" {
		text, err := smallfile.Read(f.report, smallfile.Config)
		if err != nil {
			return nil, 0, fmt.Errorf("--report: %w", err)
		}
		r, err := report.Parse(text, f.report)
		if err != nil {
			return nil, 0, fmt.Errorf("--report: %w", err)
		}
		return r, cmp.Or(r.Device.Memory, defaultMemory), nil
	}
	name, room := defaultName, int64(defaultMemory)
	if a.flags.Changed("device") {
		dev, err := a.openDevice()
		switch {
		case errors.Is(err, engine.ErrNoDevice), errors.Is(err, engine.ErrUnsupported):
		case err != nil:
			return nil, 0, err
		default:
			name, room = dev.Info().Name, cmp.Or(dev.Info().Memory, defaultMemory)
			if err := dev.Close(); err != nil {
				return nil, 0, err
			}
		}
	}
	r, _, err := report.Find(vulkan.Reports, vulkan.ReportsDir, name)
	return r, room, err
}

func printMemory(w io.Writer, e vlm.Estimation) {
	m := e.MemoryBytes
	fmt.Fprintf(w, "memory in %-6s %s: weights %s, gradients %s, optimizer %s, activations %s\n",
		e.DType, engine.Bytes(m.Total), engine.Bytes(m.Weights), engine.Bytes(m.Gradients), engine.Bytes(m.Optimizer), engine.Bytes(m.Activations))
}
