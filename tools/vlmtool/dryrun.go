package main

import (
	"fmt"

	"patchwork/engine"
	"patchwork/vlm"
)

// An H100 SXM: dense bf16 peak, and what an hour of it is rented for.
const (
	defaultPeak  = 989
	defaultPrice = 2.3
	// utilisation is the share of the peak that a training step is assumed to
	// reach: what PyTorch does with models of this size.
	utilisation = 0.35
)

func (f *trainFlags) runDry(a *app, r vlm.Recipe) error {
	e, err := vlm.Estimate(r)
	if err != nil {
		return err
	}
	if f.peakTFLOPs <= 0 || f.price < 0 {
		return usagef("--peak-tflops and --price-per-hour must be above 0")
	}
	e.Hours = e.FlopsPerStep * float64(r.Steps) / (f.peakTFLOPs * 1e12 * utilisation) / 3600
	e.Dollars = e.Hours * f.price
	if a.json {
		return a.result(e)
	}
	m := e.MemoryBytes
	fmt.Fprintf(a.stdout, "parameters       %s\n", thousands(e.Parameters))
	fmt.Fprintf(a.stdout, "tokens per step  %s\n", thousands(int64(e.TokensPerStep)))
	fmt.Fprintf(a.stdout, "work per step    %.4g TFLOP\n", e.FlopsPerStep/1e12)
	fmt.Fprintf(a.stdout, "memory           %s: weights %s, gradients %s, optimizer %s, activations %s\n",
		engine.Bytes(m.Total), engine.Bytes(m.Weights), engine.Bytes(m.Gradients), engine.Bytes(m.Optimizer), engine.Bytes(m.Activations))
	fmt.Fprintf(a.stdout, "%d steps        %.3g hours, $%.2f at %.0f%% of %g TFLOP/s and $%g an hour\n",
		r.Steps, e.Hours, e.Dollars, 100*utilisation, f.peakTFLOPs, f.price)
	return nil
}
