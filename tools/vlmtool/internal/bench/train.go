package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

func (f *options) recipe() (train.Recipe, error) {
	r, err := train.Preset(cmp.Or(f.preset, "shapes"))
	if err != nil {
		return r, usage.Error{Err: err}
	}
	if f.tokens == 0 {
		f.tokens = r.SeqLen
	}
	r.DType, r.Recompute = f.storage.DType, f.recompute
	if f.loraRank != 0 {
		r.Adapter = &vlm.Adapter{Rank: f.loraRank, Alpha: 2 * float64(f.loraRank), Targets: vlm.AdapterTargets}
		r.BaseWeights = pretrained.Weights(f.storage.Weights)
		if err := r.Check(); err != nil {
			return r, usage.Error{Err: err}
		}
	}
	if f.tokens < 2 {
		return r, usage.Errorf("--seq-len %d leaves no token to predict", f.tokens)
	}
	return r, nil
}

// open reads the preset's recipe and opens the device.
func (f *options) open(a *cli.App) (train.Recipe, engine.Device, error) {
	r, err := f.recipe()
	if err != nil {
		return r, nil, err
	}
	dev, err := device.Open(a)
	return r, dev, err
}

// openBench opens the device and records the preset's step on it.
func (f *options) openBench(a *cli.App) (engine.Device, *train.Bench, error) {
	r, dev, err := f.open(a)
	if err != nil {
		return nil, nil, err
	}
	f.preset = r.Preset
	bench, err := train.NewBench(dev, r, f.rows, f.tokens)
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	return dev, bench, nil
}

// printHeader writes the configuration lines of Go's benchmark format.
func printHeader(a *cli.App, d engine.Info) {
	if !a.JSON {
		fmt.Fprintf(a.Stdout, "goos: %s\ngoarch: %s\npkg: patchwork\ndevice: %s %s\n", runtime.GOOS, runtime.GOARCH, d.Device, d.Name)
	}
}

// trainResult is bench train's line of JSON; times are of the median step.
type trainResult struct {
	Bench      string  `json:"bench"`
	Preset     string  `json:"preset"`
	DType      string  `json:"dtype"`
	LoRARank   int     `json:"lora_rank,omitempty"`
	Weights    string  `json:"weights,omitempty"` // of an adapter's base
	Recompute  bool    `json:"recompute"`
	BatchSize  int     `json:"batch_size"`
	SeqLen     int     `json:"seq_len"`
	Device     string  `json:"device"`
	Steps      int     `json:"steps"`
	FirstMS    float64 `json:"first_ms"` // of the first step, which compiles
	MS         float64 `json:"ms"`
	MSMin      float64 `json:"ms_min"`
	TokensPerS float64 `json:"tokens_per_s"`
	GFLOPs     float64 `json:"gflops"`        // per second
	HostShare  float64 `json:"host_fraction"` // of the step, outside the device
	Memory     int64   `json:"memory_peak_bytes"`

	train.StepCounts
	// KernelMS is the time of the step's kernels one after another by the device's clock,
	// IdleShare the rest of the median step; 0 where kernels overlapped or the device has
	// no clock.
	KernelMS  float64      `json:"kernel_ms,omitempty"`
	IdleShare float64      `json:"idle_fraction"`
	Kernels   []kernelTime `json:"kernels,omitempty"` // the slowest first
}

// kernelTime is the time of all calls of a kernel in a step.
type kernelTime struct {
	Kernel string  `json:"kernel"`
	Calls  int     `json:"calls"`
	MS     float64 `json:"ms"`
	GFLOPs float64 `json:"gflops"` // per second
}

// At least minSteps steps are measured for at least minTime; after maxTime two are enough.
const (
	minTime  = 5 * time.Second
	maxTime  = 20 * time.Second
	minSteps = 5
)

func (f *options) train(ctx context.Context, a *cli.App) error {
	dev, bench, err := f.openBench(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	var times []time.Duration
	var host time.Duration
	enough := func(since time.Duration) bool {
		n := len(times)
		return n > minSteps && since >= minTime || n > 2 && since >= maxTime
	}
	first, _, err := bench.Step(ctx)
	if err != nil {
		return err
	}
	for start := time.Now(); !enough(time.Since(start)); {
		elapsed, h, err := bench.Step(ctx)
		if err != nil {
			return err
		}
		times, host = append(times, elapsed), h
	}
	times = times[1:] // the second warm-up step
	slices.Sort(times)
	median := times[len(times)/2]
	out := trainResult{
		Bench: "train", Preset: f.preset, DType: f.storage.DType, LoRARank: f.loraRank, Weights: f.storage.Weights, Recompute: f.recompute == "on",
		BatchSize: f.rows, SeqLen: f.tokens, Device: dev.Info().Device, Steps: len(times), FirstMS: ms(first), MS: ms(median), MSMin: ms(times[0]),
		TokensPerS: float64(bench.Tokens) / median.Seconds(), GFLOPs: bench.Flops / median.Seconds() / 1e9, HostShare: host.Seconds() / median.Seconds(),
		StepCounts: bench.Counts,
	}
	_, out.Memory = dev.MemoryInUse()
	if err := out.profile(ctx, bench); err != nil {
		return err
	}
	if a.JSON {
		return a.Result(out)
	}
	printHeader(a, dev.Info())
	fmt.Fprintf(a.Stdout, "BenchmarkTrain/%s/rows=%d/seq=%d/%s %8d %12d ns/op %10.0f tokens/s %8.2f GFLOP/s %6.2f %%host %6.2f %%idle\n",
		f.preset, f.rows, f.tokens, f.storage.DType, len(times), median.Nanoseconds(), out.TokensPerS, out.GFLOPs, 100*out.HostShare, 100*out.IdleShare)
	fmt.Fprintf(a.Stdout, "# a step has %d dispatches, %d barriers and %d submits of them; its kernels take %.3f ms one after another\n", out.Dispatches, out.Barriers, out.Submits, out.KernelMS)
	for _, k := range out.Kernels {
		fmt.Fprintf(a.Stdout, "# %-20s %5d calls %10.3f ms %10.2f GFLOP/s\n", k.Kernel, k.Calls, k.MS, k.GFLOPs)
	}
	return nil
}

// profile runs one more step and measures its kernels.
func (b *trainResult) profile(ctx context.Context, bench *train.Bench) error {
	traced, err := bench.Profile(ctx)
	if errors.Is(err, engine.ErrUnsupported) { // the device has no clock
		return nil
	}
	if err != nil {
		return err
	}
	index, flops := map[string]int{}, map[string]float64{}
	for _, t := range traced {
		i, ok := index[t.Kernel.Name]
		if !ok {
			i = len(b.Kernels)
			index[t.Kernel.Name], b.Kernels = i, append(b.Kernels, kernelTime{Kernel: t.Kernel.Name})
		}
		k := &b.Kernels[i]
		k.Calls, k.MS = k.Calls+1, k.MS+ms(t.Duration)
		flops[k.Kernel] += t.Work.Flops
		b.KernelMS += ms(t.Duration)
	}
	for i := range b.Kernels {
		if k := &b.Kernels[i]; k.MS > 0 {
			k.GFLOPs = flops[k.Kernel] / k.MS / 1e6
		}
	}
	slices.SortFunc(b.Kernels, func(x, y kernelTime) int { return cmp.Compare(y.MS, x.MS) })
	b.IdleShare = max(0, 1-b.KernelMS/b.MS)
	return nil
}
