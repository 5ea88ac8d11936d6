package main

import (
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/train"
)

// TestLimits: every integer flag of every command has a maximum, above which it is a
// usage error.
func TestLimits(t *testing.T) {
	n := 0
	for _, c := range cli.Commands(rootCommand(&cli.App{})) {
		name := strings.Fields(c.CommandPath())[1:]
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "int" {
				return
			}
			n++
			limit := cli.LimitOf(f.Name).Max
			if limit < 1 || limit > math.MaxInt32 {
				t.Errorf("--%s: limit %d", f.Name, limit)
			}
			for _, value := range []int{limit + 1, math.MaxInt32 + 1, math.MaxInt64} {
				if f.Name == "count" && value < math.MaxInt32 { // which has its own, smaller limit
					continue
				}
				vlmtool(append(name, fmt.Sprintf("--%s=%d", f.Name, value))...).clear(t, cli.ExitUsage, "--"+f.Name+" cannot be")
			}
		})
	}
	if n < 30 {
		t.Errorf("%d flags were tried", n)
	}
}

// TestCombinedLimits: settings that are within their own limits may exceed one together.
func TestCombinedLimits(t *testing.T) {
	if engine.HostMemory() == 0 {
		t.Skip("the system does not report its memory")
	}
	_, file := smallRun(t)
	out := filepath.Join(t.TempDir(), "run")
	for _, c := range []struct {
		args    []string
		message string
	}{
		{[]string{"train", "--data", file, "--out", out, "--accumulate", "1048576", "--batch-size", "4096"}, "tokens per step"},
		{[]string{"train", "--dry-run", "--accumulate", "1048577"}, "the maximum is 1048576"},
		{[]string{"train", "--data", file, "--out", out, "--pool-size", "1048576", "--seq-len", "131072"}, "may take"},
		{[]string{"train", "--data", file, "--out", out, "--threads", fmt.Sprint(16*runtime.NumCPU() + 1)}, "cores"},
		{[]string{"train", "--data", file, "--out", out, "--keep", "2147483648"}, "the maximum is"},
		{[]string{"bench", "kernels", "--seq-len", "131072", "--batch-size", "4096", "--device", "cpu"}, "no device holds"},
		{[]string{"bench", "infer", "--new", "9223372036854775807", "--device", "cpu"}, "the maximum is 131072"},
		{[]string{"tune", "--seq-len", "1000000000"}, "the maximum is 131072"},
		{[]string{"infer", "--model", "x", "--prompt", "a", "--top-k", "9223372036854775808"}, "too large"},
	} {
		vlmtool(c.args...).clear(t, cli.ExitUsage, c.message)
	}
}

// TestRecipeLimits: the file of --config has the same limits as the flags.
func TestRecipeLimits(t *testing.T) {
	for name, set := range map[string]func(r *train.Recipe, n int){
		"seq-len": func(r *train.Recipe, n int) { r.SeqLen = n }, "batch-size": func(r *train.Recipe, n int) { r.BatchSize = n },
		"accumulate": func(r *train.Recipe, n int) { r.Accumulate = n }, "pool-size": func(r *train.Recipe, n int) { r.PoolSize = n },
		"steps": func(r *train.Recipe, n int) { r.Steps = n }, "epochs": func(r *train.Recipe, n int) { r.Epochs = n },
		"warmup": func(r *train.Recipe, n int) { r.Warmup = n }, "holdout": func(r *train.Recipe, n int) { r.HoldOut = n },
		"val-every": func(r *train.Recipe, n int) { r.ValEvery = n }, "save-every": func(r *train.Recipe, n int) { r.SaveEvery = n },
		"freeze-decoder-steps": func(r *train.Recipe, n int) { r.FreezeDecoderSteps = n },
	} {
		r, err := train.Preset("shapes")
		require.NoError(t, err)
		require.NoError(t, r.Check())
		limit := cli.LimitOf(name).Max
		for _, value := range []int{limit + 1, math.MaxInt64, -1} {
			if set(&r, value); r.Check() == nil {
				t.Errorf("%s %d is accepted", name, value)
			}
		}
	}
}
