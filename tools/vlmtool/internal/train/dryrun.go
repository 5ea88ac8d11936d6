package train

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"patchwork/engine"
	"patchwork/internal/disk"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// The data set that the presets of pretrained decoders are for: FineVision's
// descriptions, with every 10th sample held out.
const (
	dataSamples = 1_150_000
	dataHeldOut = 0.1
)

func (f *options) runDry(ctx context.Context, a *cli.App, r train.Recipe) error {
	if f.decoder != "" {
		var err error
		if r, err = r.WithDecoder(f.decoder); err != nil {
			return err
		}
	}
	if f.model != "" {
		c, err := pretrained.ReadConfig(f.model, f.mmproj)
		if err != nil {
			return err
		}
		if !c.IsGemma() { // whose sizes the recipe has
			r.Vision, r.Text, r.Audio = c.Vision, &c.Text, c.Audio
		}
	}
	kept, err := train.Estimate(r, false)
	if err != nil {
		return err
	}
	again, err := train.Estimate(r, true)
	if err != nil {
		return err
	}
	on, err := f.target(a)
	if err != nil {
		return err
	}
	defer on.close()
	e := kept
	if r.Recompute == "on" || r.Recompute == "auto" && on.memory > 0 && !kept.MemoryBytes.Fits(on.memory) {
		e = again
	}
	perEpoch := dataSamples * (1 - dataHeldOut) * float64(e.SampleTokens) / float64(e.TokensPerStep)
	if r.Epochs > 0 {
		e.Steps = max(1, int(float64(r.Epochs)*perEpoch))
	}
	if err := f.estimate(ctx, &e, r, on); err != nil {
		return err
	}
	f.countDisk(&e, r)
	if a.JSON {
		return a.Result(e)
	}
	fmt.Fprintf(a.Stdout, "parameters       %s\n", terminal.Thousands(e.Parameters))
	fmt.Fprintf(a.Stdout, "tokens per step  %s\n", terminal.Thousands(int64(e.TokensPerStep)))
	fmt.Fprintf(a.Stdout, "work per step    %.4g TFLOP, of samples of %d tokens\n", e.FlopsPerStep/1e12, e.SampleTokens)
	printMemory(a.Stdout, e)
	if e.Recompute {
		fmt.Fprintf(a.Stdout, "                 with activations recomputed; %s with --recompute off", engine.Bytes(kept.MemoryBytes.Total))
	} else {
		fmt.Fprintf(a.Stdout, "                 with all activations kept; %s with --recompute on", engine.Bytes(again.MemoryBytes.Total))
	}
	if on.memory > 0 {
		fmt.Fprintf(a.Stdout, "; the device has %s\n", engine.Bytes(on.memory))
	} else {
		fmt.Fprintln(a.Stdout, "; the device does not report its memory")
	}
	printDisk(a.Stdout, e.DiskBytes)
	dollars, where := "", ""
	if e.Device != "" {
		where = " on " + e.Device
	}
	if f.price > 0 {
		dollars = fmt.Sprintf(", $%.2f at $%g an hour", e.Dollars, f.price)
	}
	fmt.Fprintf(a.Stdout, "%-16s %.3g hours%s at %s%s\n",
		fmt.Sprintf("%d steps", e.Steps), e.Hours, where, perSecond(e.FlopsPerSecond), dollars)
	fmt.Fprintf(a.Stdout, "                 this rate is %s\n", e.RateSource)
	if r.Decoder != "" {
		fmt.Fprintf(a.Stdout, "                 %.2f passes over %.2f M samples\n", float64(e.Steps)/perEpoch, dataSamples*(1-dataHeldOut)/1e6)
	}
	return nil
}

// perSecond formats a rate in GFLOP/s or TFLOP/s.
func perSecond(flops float64) string {
	if flops < 1e12 {
		return fmt.Sprintf("%.3g GFLOP/s", flops/1e9)
	}
	return fmt.Sprintf("%.3g TFLOP/s", flops/1e12)
}

// countDisk adds what the run writes to disk, and the free space at --out.
func (f *options) countDisk(e *train.Estimation, r train.Recipe) {
	d := &e.DiskBytes
	d.Keep(r, e.Steps, f.keep)
	if f.out == "" {
		return
	}
	if free, ok := disk.Free(f.out); ok {
		if d.Free = free; d.Total > free {
			slog.Warn("the run does not fit on the disk", "needs", engine.Bytes(d.Total), "free", engine.Bytes(free), "folder", f.out)
		}
	}
}

func printDisk(w io.Writer, d train.DiskBytes) {
	checkpoints := fmt.Sprintf("up to %d checkpoints of", d.MaxCheckpoints)
	if d.MaxCheckpoints == 1 {
		checkpoints = "a checkpoint of"
	}
	fmt.Fprintf(w, "disk             %s: the model %s, %s %s", engine.Bytes(d.Total), engine.Bytes(d.Model), checkpoints, engine.Bytes(d.Checkpoint))
	if d.Free > 0 {
		fmt.Fprintf(w, "; %s free", engine.Bytes(d.Free))
	}
	fmt.Fprintln(w)
}

func printMemory(w io.Writer, e train.Estimation) {
	m := e.MemoryBytes
	fmt.Fprintf(w, "memory in %-6s %s: weights %s, gradients %s, optimizer %s, activations %s\n",
		e.DType, engine.Bytes(m.Total), engine.Bytes(m.Weights), engine.Bytes(m.Gradients), engine.Bytes(m.Optimizer), engine.Bytes(m.Activations))
}
