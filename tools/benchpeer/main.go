// Command benchpeer measures products and attention of the presets beside another
// program on the same machine, case by case in turns, for docs/benchmarks.md:
//
//	benchpeer --peer ggml --kernels matmul --device vulkan:0 -- ./ggml > ggml.jsonl
//	benchpeer --peer PyTorch --kernels attention,attention_backward --device cpu -- python3 tools/benchpeer/peers/pytorch.py > pytorch.jsonl
//
// What follows -- is run once a turn with the case: "matmul M N K" or "attention
// HEADS KV_HEADS HEAD_DIM TOKENS", attention_backward alike. It prints {"ms": …};
// where it fails the case has no ratio. peers/ holds such programs.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/kernelbench"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/shaders"
	"patchwork/vlm"
)

type options struct {
	peer, device           string
	kernels, presets, work []string
	tokens, turns          int
	most                   time.Duration
	command                []string
}

func main() {
	var o options
	pflag.StringVar(&o.peer, "peer", "", "the peer's name")
	pflag.StringVar(&o.device, "device", "vulkan:0", "cpu, vulkan:N or webgpu:N")
	pflag.StringSliceVar(&o.kernels, "kernels", []string{"matmul"}, "of matmul, attention, attention_backward")
	pflag.StringSliceVar(&o.presets, "presets", []string{"smollm2-135m", "smollm2-360m", "qwen3-1.7b"}, "whose cases to measure")
	pflag.StringSliceVar(&o.work, "work", []string{"train", "decode"}, "of train, prefill, decode")
	pflag.IntVar(&o.tokens, "seq-len", 1024, "tokens of a training step")
	pflag.IntVar(&o.turns, "turns", 2, "how often both are measured")
	pflag.DurationVar(&o.most, "case-time", 10*time.Second, "the longest that one call may take")
	pflag.Parse()
	o.command = pflag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeer:", err)
		os.Exit(1)
	}
}

// result is a case's line.
type result struct {
	Bench   string  `json:"bench"` // "peer"
	Peer    string  `json:"peer"`
	Device  string  `json:"device"`
	Work    string  `json:"work"` // "smollm2-135m train"
	Kernel  string  `json:"kernel"`
	Case    string  `json:"case"`
	Variant string  `json:"variant"`
	US      float64 `json:"us_min"`
	GFLOPs  float64 `json:"gflops"`
	PeerUS  float64 `json:"peer_us_min,omitempty"`
	PeerGF  float64 `json:"peer_gflops,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`   // ours / theirs, in speed
	Skipped string  `json:"skipped,omitempty"` // why there is no ratio
}

func run(ctx context.Context, w io.Writer, o options) error {
	if o.peer == "" || len(o.command) == 0 || o.turns < 1 {
		return errors.New("want --peer NAME, --turns above 0 and, behind --, the peer's command")
	}
	dev, err := open(o.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	bench, err := kernelbench.New(ctx, dev, kernelbench.Options{Samples: 2, Time: time.Second, Most: o.most, Patience: 5 * time.Second})
	if err != nil {
		return err
	}
	defer bench.Free()
	cases, err := o.cases()
	if err != nil {
		return err
	}
	out := json.NewEncoder(w)
	for i, c := range cases {
		fmt.Fprintf(os.Stderr, "%d of %d: %s/%s\n", i+1, len(cases), c.Kernel.Name, c.Name)
		r, err := o.measure(ctx, bench, c)
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
		return nil, fmt.Errorf("--device is %q; after the colon stands a number", device)
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

// cases are the different calls of the kernels in the presets' work. Their Work
// names the first preset that has them.
func (o options) cases() (all []*kernelbench.Case, err error) {
	seen := map[string]bool{}
	if slices.Contains(o.kernels, shaders.MatMul.Name) {
		all = kernelbench.Squares(shaders.F32, false)
	}
	for _, name := range o.presets {
		r, err := vlm.Preset(name)
		if err != nil {
			return nil, err
		}
		for _, work := range o.work {
			recorded, err := vlm.RecordWork(r, work, 1, o.tokens)
			if err != nil {
				return nil, err
			}
			for _, c := range kernelbench.FromDispatches(name+" "+work, recorded.Dispatches, &recorded.Step) {
				key := c.Kernel.Name + "/" + c.Name
				if slices.Contains(o.kernels, c.Kernel.Name) && c.Cost.Flops > 0 && !seen[key] {
					seen[key], all = true, append(all, c)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no case of %v in the %v of %v", o.kernels, o.work, o.presets)
	}
	return all, nil
}

// measure lets both take turns and keeps the least time of each.
func (o options) measure(ctx context.Context, bench *kernelbench.Bench, c *kernelbench.Case) (result, error) {
	r := result{Bench: "peer", Peer: o.peer, Device: o.device, Work: c.Work, Kernel: c.Kernel.Name, Case: c.Name}
	ours, theirs := math.Inf(1), math.Inf(1)
	for range o.turns {
		m, err := bench.Measure(ctx, c)
		if skip := (*kernelbench.SkipError)(nil); errors.As(err, &skip) {
			r.Skipped = skip.Reason
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("%s/%s: %w", c.Kernel.Name, c.Name, err)
		}
		r.Variant, ours = m.Variant, min(ours, m.Min.Seconds())
		ms, err := o.ask(ctx, c)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			r.Skipped = err.Error()
			break
		}
		theirs = min(theirs, ms/1e3)
	}
	r.US, r.GFLOPs = 1e6*ours, c.Cost.Flops/ours/1e9
	if r.Skipped == "" {
		r.PeerUS, r.PeerGF, r.Ratio = 1e6*theirs, c.Cost.Flops/theirs/1e9, theirs/ours
	}
	return r, nil
}

// ask runs the peer for a case and returns its milliseconds.
func (o options) ask(ctx context.Context, c *kernelbench.Case) (float64, error) {
	args, err := sizes(c)
	if err != nil {
		return 0, err
	}
	command := exec.CommandContext(ctx, o.command[0], append(o.command[1:len(o.command):len(o.command)], args...)...)
	var errs bytes.Buffer
	command.Stderr = &errs
	text, err := command.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return 0, fmt.Errorf("%s: %w: %s", o.peer, err, lines[len(lines)-1])
	}
	var answer struct {
		MS float64 `json:"ms"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.MS <= 0 {
		return 0, fmt.Errorf("%s wrote %q, want {\"ms\": …}", o.peer, text)
	}
	return answer.MS, nil
}

// sizes are a case as the peer reads it.
func sizes(c *kernelbench.Case) ([]string, error) {
	var numbers []uint32
	switch p := c.Kernel.AtStep(c.Params, c.Step[:]).(type) {
	case shaders.MatMulParams:
		if p.Batch != 1 {
			return nil, errors.New("a batch of products")
		}
		numbers = []uint32{p.M.Max, p.N, p.K.Max}
	case shaders.AttentionParams:
		if p.Batch != 1 || p.Queries != p.Keys {
			return nil, errors.New("attention over a cache or a batch")
		}
		numbers = []uint32{p.Heads, p.KVHeads, p.HeadDim, p.Keys}
	default:
		return nil, fmt.Errorf("kernel %s has no peer", c.Kernel.Name)
	}
	args := []string{c.Kernel.Name}
	for _, n := range numbers {
		args = append(args, fmt.Sprint(n))
	}
	return args, nil
}
