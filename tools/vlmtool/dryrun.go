package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"

	"patchwork/engine"
	"patchwork/vlm"
)

// An H100 SXM, which a dry run reckons with unless it is told of another device.
const (
	defaultMemory = 80 << 30
	defaultPrice  = 2.3 // dollars, what an hour of it is rented for
	// utilisation is the share of the peak that a training step is assumed to
	// reach: what PyTorch does with models of this size.
	utilisation = 0.35
)

// defaultPeak is the H100's dense peak in TFLOP/s: float32 runs outside its
// tensor cores.
func defaultPeak(dtype string) float64 {
	if dtype == "f32" {
		return 67
	}
	return 989
}

// The data that the presets of pretrained decoders are meant for: FineVision's
// descriptions, every 10th sample held out.
const (
	dataSamples = 1_150_000
	dataHeldOut = 0.1
)

func (f *trainFlags) runDry(a *app, r vlm.Recipe) error {
	if !(f.price >= 0 && f.peakTFLOPs >= 0) || math.IsInf(f.price, 1) || a.flags.Changed("peak-tflops") && f.peakTFLOPs == 0 {
		return usagef("--peak-tflops and --price-per-hour must be numbers above 0")
	}
	room, err := a.room()
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
	peak := cmp.Or(f.peakTFLOPs, defaultPeak(r.DType))
	e.Hours = e.FlopsPerStep * float64(e.Steps) / (peak * 1e12 * utilisation) / 3600
	e.Dollars = e.Hours * f.price
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
	fmt.Fprintf(a.stdout, "%-16s %.3g hours, $%.2f at %.0f%% of %g TFLOP/s and $%g an hour\n",
		fmt.Sprintf("%d steps", e.Steps), e.Hours, e.Dollars, 100*utilisation, peak, f.price)
	if r.Decoder != "" {
		fmt.Fprintf(a.stdout, "                 %.2f passes over %.2f M samples\n", float64(e.Steps)/perEpoch, dataSamples*(1-dataHeldOut)/1e6)
	}
	return nil
}

// room is the memory of the device that --device names, or an H100's where it
// names none or one that is not here.
func (a *app) room() (int64, error) {
	if !a.flags.Changed("device") {
		return defaultMemory, nil
	}
	dev, err := a.openDevice()
	switch {
	case errors.Is(err, engine.ErrNoDevice), errors.Is(err, engine.ErrUnsupported):
		return defaultMemory, nil
	case err != nil:
		return 0, err
	}
	return cmp.Or(dev.Info().Memory, defaultMemory), dev.Close()
}

func printMemory(w io.Writer, e vlm.Estimation) {
	m := e.MemoryBytes
	fmt.Fprintf(w, "memory in %-6s %s: weights %s, gradients %s, optimizer %s, activations %s\n",
		e.DType, engine.Bytes(m.Total), engine.Bytes(m.Weights), engine.Bytes(m.Gradients), engine.Bytes(m.Optimizer), engine.Bytes(m.Activations))
}
