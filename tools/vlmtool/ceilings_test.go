package main

import (
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/vlm/train"
)

// TestCeilings: every whole number of every command has a largest value, and the one
// behind it is a usage error at once, before anything is made of it.
func TestCeilings(t *testing.T) {
	n := 0
	for _, c := range everyCommand() {
		if c.declare == nil {
			continue
		}
		c.described().flags.VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "int" {
				return
			}
			n++
			most := ceilingOf(f.Name).most
			if most < 1 || most > math.MaxInt32 {
				t.Errorf("--%s: ceiling %d", f.Name, most)
			}
			for _, value := range []int{most + 1, math.MaxInt32 + 1, math.MaxInt64} {
				if f.Name == "count" && value < math.MaxInt32 { // a smaller limit of its own
					continue
				}
				a := newApp(c.name, nil)
				c.flags(a)
				if err := a.parse([]string{fmt.Sprintf("--%s=%d", f.Name, value)}, positional{}); err == nil {
					t.Errorf("%s --%s %d is taken", c.name, f.Name, value)
				}
			}
		})
	}
	if n < 30 {
		t.Errorf("%d flags were tried", n)
	}
}

// TestTooMuch: products of settings that are each within their limits.
func TestTooMuch(t *testing.T) {
	if engine.HostMemory() == 0 {
		t.Skip("the system does not tell its memory")
	}
	_, file := smallRun(t)
	out := filepath.Join(t.TempDir(), "run")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"train", "--data", file, "--out", out, "--accumulate", "1048576", "--batch-size", "4096"}, "tokens a step"},
		{[]string{"train", "--dry-run", "--accumulate", "1048577"}, "the most is 1048576"},
		{[]string{"train", "--data", file, "--out", out, "--pool-size", "1048576", "--seq-len", "131072"}, "may take"},
		{[]string{"train", "--data", file, "--out", out, "--threads", fmt.Sprint(16*runtime.NumCPU() + 1)}, "cores"},
		{[]string{"train", "--data", file, "--out", out, "--keep", "2147483648"}, "the most is"},
		{[]string{"bench", "kernels", "--seq-len", "131072", "--batch-size", "4096", "--device", "cpu"}, "no device holds"},
		{[]string{"bench", "infer", "--new", "9223372036854775807", "--device", "cpu"}, "the most is 131072"},
		{[]string{"tune", "--seq-len", "1000000000"}, "the most is 131072"},
		{[]string{"infer", "--model", "x", "--prompt", "a", "--top-k", "9223372036854775808"}, "too large"},
	} {
		start := time.Now()
		vlmtool(c.args...).clear(t, exitUsage, c.says)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%v took %v", c.args, took)
		}
	}
}

// TestRecipeCeilings: a recipe's file has the same limits as the flags.
func TestRecipeCeilings(t *testing.T) {
	for name, set := range map[string]func(r *train.Recipe, n int){
		"seq-len": func(r *train.Recipe, n int) { r.SeqLen = n }, "batch-size": func(r *train.Recipe, n int) { r.BatchSize = n },
		"accumulate": func(r *train.Recipe, n int) { r.Accumulate = n }, "pool-size": func(r *train.Recipe, n int) { r.PoolSize = n },
		"steps": func(r *train.Recipe, n int) { r.Steps = n }, "epochs": func(r *train.Recipe, n int) { r.Epochs = n },
		"warmup": func(r *train.Recipe, n int) { r.Warmup = n }, "holdout": func(r *train.Recipe, n int) { r.HoldOut = n },
		"val-every": func(r *train.Recipe, n int) { r.ValEvery = n }, "save-every": func(r *train.Recipe, n int) { r.SaveEvery = n },
		"freeze-decoder-steps": func(r *train.Recipe, n int) { r.FreezeDecoderSteps = n },
	} {
		r, err := train.Preset("shapes")
		must(t, err)
		must(t, r.Check())
		most := ceilingOf(name).most
		for _, value := range []int{most + 1, math.MaxInt64, -1} {
			if set(&r, value); r.Check() == nil {
				t.Errorf("%s %d is taken", name, value)
			}
		}
	}
}
