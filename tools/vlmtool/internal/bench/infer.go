package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/train"
)

// inferResult is bench infer's line of JSON; times are medians.
type inferResult struct {
	Bench        string  `json:"bench"`
	Preset       string  `json:"preset"` // or the model's folder
	DType        string  `json:"dtype"`
	Weights      string  `json:"weights"` // the type of most of the decoder's matrices
	Cache        string  `json:"cache"`
	Device       string  `json:"device"`
	PromptTokens int     `json:"prompt_tokens"`
	Images       int     `json:"images"`
	NewTokens    int     `json:"new_tokens"`
	FirstMS      float64 `json:"first_ms"`   // to the first token of the first prompt, with compilation
	PrefillMS    float64 `json:"prefill_ms"` // to the first token of a later prompt
	MS           float64 `json:"ms"`         // of a token
	MSMin        float64 `json:"ms_min"`
	TokensPerS   float64 `json:"tokens_per_s"`
	GBs          float64 `json:"gb_per_s"` // of weights read
	CopyGBs      float64 `json:"copy_gb_per_s"`
	CopyFraction float64 `json:"copy_fraction"` // gb_per_s over copy_gb_per_s
	MemoryPeak   int64   `json:"memory_peak_bytes"`
	WeightBytes  int64   `json:"weight_bytes"`
}

// embedderResult is bench embedder's line of JSON.
type embedderResult struct {
	Bench      string  `json:"bench"`
	Preset     string  `json:"preset"`
	DType      string  `json:"dtype"`
	Device     string  `json:"device"`
	BatchSize  int     `json:"batch_size"`
	MS         float64 `json:"ms"`
	MSMin      float64 `json:"ms_min"`
	ImagesPerS float64 `json:"images_per_s"`
	GFLOPs     float64 `json:"gflops"` // per second
}

// prefills is the number of measured prompts.
const prefills = 5

// load opens the device and the model, or a preset with random weights.
func (f *options) load(a *cli.App) (*vlm.Runner, error) {
	var r train.Recipe
	var err error
	if f.model == "" {
		f.preset = cmp.Or(f.preset, "shapes")
		if r, err = train.Preset(f.preset); err != nil {
			return nil, usage.Error{Err: err}
		}
	}
	dev, err := device.Open(a)
	if err != nil {
		return nil, err
	}
	var l *vlm.Runner
	if f.model == "" {
		r.DType = f.storage.DType
		l, err = train.RandomModel(dev, r, f.storage.Options())
	} else {
		f.preset = filepath.Base(f.model)
		l, err = pretrained.LoadWith(f.model, dev, f.storage.Options())
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return l, nil
}

func (f *options) infer(ctx context.Context, a *cli.App) error {
	l, err := f.load(a)
	if err != nil {
		return err
	}
	defer l.Device.Close()
	bench, err := generate.NewInferBench(l, f.promptTokens, f.newTokens)
	if err != nil {
		return err
	}
	defer bench.Close()
	out := inferResult{
		Bench: "infer", Preset: f.preset, DType: f.storage.DType, Weights: l.WeightsName(), Cache: l.CacheName(), Device: l.Device.Info().Device, PromptTokens: f.promptTokens, Images: bench.Images, NewTokens: f.newTokens,
		WeightBytes: bench.WeightBytes,
	}
	var first, next []time.Duration
	for range prefills + 1 {
		t, err := bench.Prefill(ctx)
		if err != nil {
			return err
		}
		first = append(first, t)
	}
	for range f.newTokens {
		t, err := bench.Decode(ctx)
		if err != nil {
			return err
		}
		next = append(next, t)
	}
	out.FirstMS, first = ms(first[0]), first[1:]
	slices.Sort(first)
	slices.Sort(next)
	median := next[len(next)/2]
	out.PrefillMS, out.MS, out.MSMin, out.TokensPerS = ms(first[len(first)/2]), ms(median), ms(next[0]), 1/median.Seconds()
	out.GBs = float64(bench.WeightBytes) / median.Seconds() / 1e9
	_, out.MemoryPeak = l.Device.MemoryInUse()
	copied, err := generate.CopyBandwidth(ctx, l.Device)
	switch {
	case errors.Is(err, engine.ErrOutOfMemory): // the model leaves no memory for it
	case err != nil:
		return err
	default:
		out.CopyGBs, out.CopyFraction = copied/1e9, out.GBs*1e9/copied
	}
	if a.JSON {
		return a.Result(out)
	}
	printHeader(a, l.Device.Info())
	fmt.Fprintf(a.Stdout, "BenchmarkPrefill/%s/prompt=%d/images=%d %d %d ns/op %.0f tokens/s\n",
		f.preset, f.promptTokens, bench.Images, len(first), first[len(first)/2].Nanoseconds(), 1e3*float64(f.promptTokens)/out.PrefillMS)
	fmt.Fprintf(a.Stdout, "BenchmarkDecode/%s/prompt=%d/new=%d %d %d ns/op %.1f tokens/s %.2f GB/s %.2f ofcopy\n",
		f.preset, f.promptTokens, f.newTokens, len(next), median.Nanoseconds(), out.TokensPerS, out.GBs, out.CopyFraction)
	return nil
}

func (f *options) embedder(ctx context.Context, a *cli.App) error {
	l, err := f.load(a)
	if err != nil {
		return err
	}
	defer l.Device.Close()
	bench, err := generate.NewEmbedderBench(l, f.rows)
	if err != nil {
		return err
	}
	defer bench.Close()
	var times []time.Duration
	for start := time.Now(); len(times) < minSteps+2 || time.Since(start) < minTime; {
		t, err := bench.Step(ctx)
		if err != nil {
			return err
		}
		times = append(times, t)
	}
	times = times[2:]
	slices.Sort(times)
	median := times[len(times)/2]
	out := embedderResult{
		Bench: "embedder", Preset: f.preset, DType: f.storage.DType, Device: l.Device.Info().Device, BatchSize: f.rows, MS: ms(median), MSMin: ms(times[0]),
		ImagesPerS: float64(f.rows) / median.Seconds(), GFLOPs: bench.Flops / median.Seconds() / 1e9,
	}
	if a.JSON {
		return a.Result(out)
	}
	printHeader(a, l.Device.Info())
	fmt.Fprintf(a.Stdout, "BenchmarkEmbedder/%s/images=%d %d %d ns/op %.1f images/s %.2f GFLOP/s\n",
		f.preset, f.rows, len(times), median.Nanoseconds(), out.ImagesPerS, out.GFLOPs)
	return nil
}
