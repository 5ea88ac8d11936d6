// Command benchpeer measures matmuls and attention of the presets interleaved with another
// program on the same machine, case by case, for docs/benchmarks.md:
//
//	benchpeer --peer ggml --kernels matmul --device vulkan:0 -- ./ggml > ggml.jsonl
//	benchpeer --peer PyTorch --kernels attention,attention_backward --device cpu -- python3 tools/benchpeer/peers/pytorch.py > pytorch.jsonl
//
// The command after -- is run for each measurement with the case: "matmul M N K" or
// "attention HEADS KV_HEADS HEAD_DIM TOKENS", likewise attention_backward. It prints
// {"ms": …}; if it fails the case has no ratio. With --serve it is started once and reads
// the cases from stdin, one per line, with their type: "matmul bf16 M N K", so that types
// other than f32 can be compared too. Without a command only patchwork is measured. Such
// programs are in peers/.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/kernelbench"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
)

type options struct {
	peer, device           string
	kernels, presets, work []string
	dtypes                 []string
	squares, attention     []int
	tokens, turns          int
	each, longest          time.Duration
	serve                  bool
	command                []string
}

func main() {
	var o options
	pflag.StringVar(&o.peer, "peer", "", "name of the peer")
	pflag.StringVar(&o.device, "device", "vulkan:0", "cpu, vulkan:N or webgpu:N")
	pflag.StringSliceVar(&o.kernels, "kernels", []string{"matmul"}, "kernels to measure, of matmul, attention, attention_backward")
	pflag.StringSliceVar(&o.presets, "presets", []string{"smollm2-135m", "smollm2-360m", "qwen3-1.7b"}, "presets whose cases are measured")
	pflag.StringSliceVar(&o.work, "work", []string{"train", "decode"}, "work of the presets, of train, prefill, decode; empty = none")
	pflag.StringSliceVar(&o.dtypes, "dtypes", []string{"f32"}, "types, of f32, bf16, f16")
	pflag.IntSliceVar(&o.squares, "squares", []int{256, 512, 1024}, "sizes of square matmuls")
	pflag.IntSliceVar(&o.attention, "attention", nil, "lengths in tokens of causal attention with the presets' heads")
	pflag.BoolVar(&o.serve, "serve", false, "start the command once and send it the cases on stdin")
	pflag.IntVar(&o.tokens, "seq-len", 1024, "tokens of a training step")
	pflag.IntVar(&o.turns, "turns", 2, "measurements of each case")
	pflag.DurationVar(&o.each, "time", time.Second, "time for a measurement of ours")
	pflag.DurationVar(&o.longest, "case-time", 10*time.Second, "skip cases in which one call takes longer")
	pflag.Parse()
	o.command = pflag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeer:", err)
		os.Exit(1)
	}
}

// result is a case's line of JSON.
type result struct {
	Bench   string  `json:"bench"` // "peer"
	Peer    string  `json:"peer,omitempty"`
	Device  string  `json:"device"`
	Work    string  `json:"work"` // "smollm2-135m train"
	Kernel  string  `json:"kernel"`
	Case    string  `json:"case"`
	DType   string  `json:"dtype"`
	Variant string  `json:"variant"`
	US      float64 `json:"us_min,omitempty"`
	GFLOPs  float64 `json:"gflops,omitempty"`
	PeerUS  float64 `json:"peer_us_min,omitempty"`
	PeerGF  float64 `json:"peer_gflops,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`   // ours / theirs, in speed
	Skipped string  `json:"skipped,omitempty"` // why there is no ratio
}

func run(ctx context.Context, w io.Writer, o options) error {
	if len(o.command) > 0 && o.peer == "" || o.turns < 1 {
		return errors.New("want --turns above 0, and --peer NAME with a command after --")
	}
	all, err := o.cases()
	if err != nil {
		return err
	}
	dev, err := open(o.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	bench, err := kernelbench.New(ctx, dev, kernelbench.Options{Samples: 2, Time: o.each, MaxCallTime: o.longest, SamplingLimit: 5 * o.each})
	if err != nil {
		return err
	}
	defer bench.Free()
	other, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	out := json.NewEncoder(w)
	for i, c := range all {
		fmt.Fprintf(os.Stderr, "%d of %d: %s/%s %s\n", i+1, len(all), c.Kernel.Name, c.Name, c.dtype)
		r, err := o.measure(ctx, bench, other, c)
		if err != nil {
			return err
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func open(device string) (engine.Device, error) {
	kind, number, _ := strings.Cut(device, ":")
	n, err := strconv.Atoi(number)
	if number != "" && err != nil {
		return nil, fmt.Errorf("--device is %q, want a number after the colon", device)
	}
	switch kind {
	case "cpu":
		return cpu.Open(0), nil
	case "vulkan":
		return vulkan.Open(n)
	case "webgpu":
		return webgpu.Open(n)
	}
	return nil, fmt.Errorf("--device is %q, want cpu, vulkan or webgpu", device)
}

// measure alternates between both and keeps the minimum time of each.
func (o options) measure(ctx context.Context, bench *kernelbench.Bench, other peer, c peerCase) (result, error) {
	r := result{Bench: "peer", Peer: o.peer, Device: o.device, Work: c.Work, Kernel: c.Kernel.Name, Case: c.Name, DType: c.dtype}
	ours, theirs := math.Inf(1), math.Inf(1)
	for range o.turns {
		m, err := bench.Measure(ctx, c.Case)
		if ctx.Err() != nil || errors.Is(err, engine.ErrDeviceLost) {
			return r, fmt.Errorf("%s/%s: %w", c.Kernel.Name, c.Name, err)
		}
		if err != nil {
			r.Skipped = err.Error()
			return r, nil
		}
		r.Variant, ours = m.Variant, min(ours, m.Min.Seconds())
		ms, err := o.ask(ctx, other, c)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			r.Skipped = err.Error()
			break
		}
		theirs = min(theirs, ms/1e3)
	}
	r.US, r.GFLOPs = 1e6*ours, c.Cost.Flops/ours/1e9
	if !math.IsInf(theirs, 1) && r.Skipped == "" {
		r.PeerUS, r.PeerGF, r.Ratio = 1e6*theirs, c.Cost.Flops/theirs/1e9, theirs/ours
	}
	return r, nil
}
