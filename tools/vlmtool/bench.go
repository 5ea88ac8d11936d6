package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
)

type benchFlags struct {
	preset, model, filter string
	rows, tokens          int
	prompt, fresh         int
	match                 *regexp.Regexp
}

func runBench(ctx context.Context, a *app, args []string) error {
	f := &benchFlags{}
	a.flags.StringVar(&f.preset, "preset", "", "model: shapes, smollm2-135m, …")
	a.flags.StringVar(&f.model, "model", "", "infer, embedder: a model instead of a preset with random weights")
	a.flags.IntVar(&f.rows, "batch-size", 1, "rows of the training step, or pictures of the embedder's")
	a.flags.IntVar(&f.tokens, "seq-len", 0, "tokens of a row; 0 = the preset's; rows too short for a picture are text alone")
	a.flags.IntVar(&f.prompt, "prompt-tokens", 290, "infer: tokens of the prompt, its picture's included")
	a.flags.IntVar(&f.fresh, "new", 128, "infer: tokens to generate")
	a.flags.StringVar(&f.filter, "filter", "", "only the cases whose name matches this regular expression")
	a.deviceFlag()
	if err := a.parse(args, 1); err != nil {
		return err
	}
	var err error
	if f.match, err = regexp.Compile("(?i)" + f.filter); err != nil {
		return usagef("--filter: %v", err)
	}
	if f.rows < 1 || f.tokens < 0 || f.prompt < 1 || f.fresh < 1 {
		return usagef("--batch-size, --seq-len, --prompt-tokens and --new must be above 0")
	}
	if f.model != "" && f.preset != "" {
		return usagef("--model and --preset are both given; one is enough")
	}
	switch a.flags.Arg(0) {
	case "kernels":
		return f.kernels(ctx, a)
	case "train":
		return f.train(ctx, a)
	case "infer":
		return f.infer(ctx, a)
	case "embedder":
		return f.embedder(ctx, a)
	}
	return usagef("bench what? kernels, train, infer or embedder")
}

func (f *benchFlags) recipe() (vlm.Recipe, error) {
	r, err := vlm.Preset(cmp.Or(f.preset, "shapes"))
	if err != nil {
		return r, usageError{err}
	}
	if f.tokens == 0 {
		f.tokens = r.SeqLen
	}
	if f.tokens < 2 {
		return r, usagef("--seq-len %d leaves no token to predict", f.tokens)
	}
	return r, nil
}

// open opens the device and prepares the preset's step on it.
func (f *benchFlags) open(a *app) (engine.Device, *vlm.Bench, error) {
	r, err := f.recipe()
	if err != nil {
		return nil, nil, err
	}
	f.preset = r.Preset
	dev, err := a.openDevice()
	if err != nil {
		return nil, nil, err
	}
	bench, err := vlm.NewBench(dev, r, f.rows, f.tokens)
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	return dev, bench, nil
}

// benchHeader is what benchstat takes as the run's configuration.
func (a *app) benchHeader(d engine.Info) {
	if !a.json {
		fmt.Fprintf(a.stdout, "goos: %s\ngoarch: %s\npkg: patchwork\ndevice: %s %s\n", runtime.GOOS, runtime.GOARCH, d.Device, d.Name)
	}
}

// trainBench is bench train's line of JSON; times are of the median step.
type trainBench struct {
	Bench      string  `json:"bench"`
	Preset     string  `json:"preset"`
	BatchSize  int     `json:"batch_size"`
	SeqLen     int     `json:"seq_len"`
	Device     string  `json:"device"`
	Steps      int     `json:"steps"`
	MS         float64 `json:"ms"`
	MSMin      float64 `json:"ms_min"`
	TokensPerS float64 `json:"tokens_per_s"`
	GFLOPs     float64 `json:"gflops"`        // per second
	HostShare  float64 `json:"host_fraction"` // of the step, outside the device
	Memory     int64   `json:"memory_peak_bytes"`
}

// Steps are measured for this long, and at least so many.
const (
	benchTime  = 5 * time.Second
	benchSteps = 5
)

func (f *benchFlags) train(ctx context.Context, a *app) error {
	dev, bench, err := f.open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	var times []time.Duration
	var host time.Duration
	for start := time.Now(); len(times) < benchSteps+2 || time.Since(start) < benchTime; {
		elapsed, h, err := bench.Step(ctx)
		if err != nil {
			return err
		}
		times, host = append(times, elapsed), h
	}
	times = times[2:] // warm-up: compilation and first touch of memory
	slices.Sort(times)
	median := times[len(times)/2]
	out := trainBench{
		Bench: "train", Preset: f.preset, BatchSize: f.rows, SeqLen: f.tokens, Device: dev.Info().Device, Steps: len(times), MS: ms(median), MSMin: ms(times[0]),
		TokensPerS: float64(bench.Tokens) / median.Seconds(), GFLOPs: bench.Flops / median.Seconds() / 1e9, HostShare: host.Seconds() / median.Seconds(),
	}
	_, out.Memory = dev.MemoryInUse()
	if a.json {
		return a.result(out)
	}
	a.benchHeader(dev.Info())
	fmt.Fprintf(a.stdout, "BenchmarkTrain/%s/rows=%d/seq=%d %8d %12d ns/op %10.0f tokens/s %8.2f GFLOP/s %6.2f %%host\n",
		f.preset, f.rows, f.tokens, len(times), median.Nanoseconds(), out.TokensPerS, out.GFLOPs, 100*out.HostShare)
	return nil
}

// kernelBench is bench kernels' line of JSON.
type kernelBench struct {
	Bench  string  `json:"bench"`
	Kernel string  `json:"kernel"`
	Case   string  `json:"case"`
	Device string  `json:"device"`
	Runs   int     `json:"runs"`
	Calls  int     `json:"calls_per_step"`
	US     float64 `json:"us"` // median of a call
	USMin  float64 `json:"us_min"`
	GFLOPs float64 `json:"gflops"`
	GBs    float64 `json:"gb_per_s"`
	Share  float64 `json:"share"` // of the step or the set
	times  []time.Duration
	work   shaders.Cost
}

// profiler runs something once and measures its dispatches.
type profiler interface {
	Profile(ctx context.Context) ([]vlm.Traced, error)
}

// kernels measures every kernel of a training step of the preset, at the shapes
// of the step. Without a preset it is square products and a small step of shapes.
func (f *benchFlags) kernels(ctx context.Context, a *app) error {
	small := f.preset == ""
	if small && f.tokens == 0 {
		f.tokens = 208
	}
	dev, step, err := f.open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	benches := []profiler{step}
	if small {
		products, err := newSquares(dev)
		if err != nil {
			return err
		}
		benches = []profiler{products, step}
	}
	a.benchHeader(dev.Info())
	for _, b := range benches {
		cases, err := f.measure(ctx, b)
		if err != nil {
			return err
		}
		for _, c := range cases {
			if !f.match.MatchString(c.Kernel + "/" + c.Case) {
				continue
			}
			c.Device = dev.Info().Device
			if err := a.printKernel(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *benchFlags) measure(ctx context.Context, bench profiler) ([]*kernelBench, error) {
	index := map[string]*kernelBench{}
	var cases []*kernelBench
	if _, err := bench.Profile(ctx); err != nil { // warm-up
		return nil, err
	}
	runs := 0
	var total time.Duration
	for start := time.Now(); runs < 3 || time.Since(start) < benchTime && runs < 100; runs++ {
		traced, err := bench.Profile(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range traced {
			key := fmt.Sprintf("%s%v", t.Kernel.Name, t.Params)
			c := index[key]
			if c == nil {
				c = &kernelBench{Bench: "kernel", Kernel: t.Kernel.Name, Case: describe(t.Params), work: t.Work}
				index[key], cases = c, append(cases, c)
			}
			c.times = append(c.times, t.Duration)
			total += t.Duration
		}
	}
	for _, c := range cases {
		c.summarise(runs, total)
	}
	slices.SortStableFunc(cases, func(a, b *kernelBench) int { return cmp.Compare(b.Share, a.Share) })
	return cases, nil
}

func (c *kernelBench) summarise(runs int, total time.Duration) {
	var sum time.Duration
	for _, t := range c.times {
		sum += t
	}
	slices.Sort(c.times)
	median := c.times[len(c.times)/2]
	c.Runs, c.Calls, c.US, c.USMin = runs, len(c.times)/runs, us(median), us(c.times[0])
	if s := median.Seconds(); s > 0 {
		c.GFLOPs, c.GBs = c.work.Flops/s/1e9, c.work.Bytes/s/1e9
	}
	c.Share = sum.Seconds() / total.Seconds()
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func (a *app) printKernel(c *kernelBench) error {
	if a.json {
		return a.result(c)
	}
	_, err := fmt.Fprintf(a.stdout, "Benchmark%s/%s %6d %12.0f ns/op %9.2f GFLOP/s %8.2f GB/s %6.2f %%step\n",
		c.Kernel, c.Case, c.Runs*c.Calls, 1e3*c.US, c.GFLOPs, c.GBs, 100*c.Share)
	return err
}
