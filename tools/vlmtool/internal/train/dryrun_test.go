package train

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/train"
)

type outcome struct {
	code           int
	stdout, stderr string
}

// vlmtool runs a command line of vlmtool train.
func vlmtool(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := cli.Run(context.Background(), args, &stdout, &stderr, func(a *cli.App) *cobra.Command {
		root := &cobra.Command{Use: "vlmtool"}
		root.AddCommand(Command(a))
		return root
	})
	return outcome{code, stdout.String(), stderr.String()}
}

// measureBriefly shortens the measurement of a step.
func measureBriefly(t *testing.T) {
	before := measureTime
	measureTime = 2 * time.Second
	t.Cleanup(func() { measureTime = before })
}

func TestDryRun(t *testing.T) {
	measureBriefly(t)
	for _, c := range []struct {
		args       []string
		has, lacks string
	}{
		{nil, "memory in f32", "a plan"},
		{[]string{"--dtype", "bf16"}, "memory in bf16", ""},
		{[]string{"--dtype", "f16", "--peak-tflops", "400", "--price-per-hour", "2"}, "assumed: 35% of a peak of 400 TFLOP/s", "measured"},
		{nil, "on H100 at 23.4 TFLOP/s, $", "measured"},
		// An H100 does not hold all of it.
		{[]string{"--preset", "qwen3-1.7b"}, "with activations recomputed", "all activations kept"},
		{[]string{"--preset", "qwen3-1.7b", "--recompute", "off"}, "with all activations kept", "with activations recomputed"},
		{[]string{"--preset", "qwen3-1.7b", "--device", "webgpu:99"}, "since the named device is not available (", "measured"},
		{[]string{"--preset", "qwen3-1.7b", "--device", "vulkan:99"}, "of an H100, since the named device is not available", "on vulkan"},
		{[]string{"--device", "cpu"}, "hours on cpu at", "$"},
		{[]string{"--device", "cpu"}, "measured now: a step of 1×704 tokens in f32 on ", "H100"},
		{[]string{"--device", "cpu", "--dtype", "bf16"}, "tokens in bf16 on ", ""},
		{[]string{"--device", "cpu", "--price-per-hour", "3"}, " at $3 an hour", ""},
		{[]string{"--device", "cpu", "--peak-tflops", "4"}, "on cpu at 1.4 TFLOP/s", "measured"},
		{[]string{"--peak-tflops", "4"}, "hours at 1.4 TFLOP/s", "H100"},
		{[]string{"--steps", "1", "--optimizer", "adamw"}, "the model 1.9 MiB, a checkpoint of 5.8 MiB\n", "free"},
		{[]string{"--steps", "1"}, "the model 1.9 MiB, a checkpoint of 4.0 MiB\n", "free"}, // Muon has no second moments
		{[]string{"--mean-colors"}, "510,528", ""},                                         // 3 more inputs of 96 outputs
		{[]string{"--embedder", "linear"}, "498,624", ""},                                  // 193 inputs of 96 outputs, and the decoder
		{[]string{"--image-experts"}, "953,376", ""},                                       // 4 layers twice
		{[]string{"--steps", "1200"}, "up to 3 checkpoints of 4.0 MiB\n", ""},              // every 500 steps
		{[]string{"--keep", "9", "--save-every", "1"}, "up to 11 checkpoints", ""},         // the newest, the best, one being written
		{[]string{"--keep", "9", "--save-every", "1", "--val-every", "0"}, "up to 10 checkpoints", ""},
		{[]string{"--out", "not/there/yet"}, " free\n", ""},
		{[]string{"--preset", "qwen3-1.7b"}, "1.00 passes over 1.03 M samples", ""},
		{[]string{"--preset", "qwen3-1.7b", "--epochs", "2"}, "2.00 passes over 1.03 M samples", ""},
	} {
		got := vlmtool(append([]string{"train", "--dry-run"}, c.args...)...)
		if got.code != 0 || !strings.Contains(got.stdout, c.has) || c.lacks != "" && strings.Contains(got.stdout, c.lacks) {
			t.Errorf("%v: exit %d, %q and not %q in\n%s%s", c.args, got.code, c.has, c.lacks, got.stdout, got.stderr)
		}
	}
}

// TestDryRunMeasures checks the relations between the figures of a measured device.
func TestDryRunMeasures(t *testing.T) {
	measureBriefly(t)
	got := vlmtool("train", "--dry-run", "--json", "--device", "cpu", "--optimizer", "adamw", "--price-per-hour", "2", "--steps", "1000", "--out", t.TempDir())
	var e train.Estimation
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || got.code != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	hours := e.FlopsPerStep * 1000 / e.FlopsPerSecond / 3600
	if !e.RateMeasured || e.Device != "cpu" || e.FlopsPerSecond <= 0 || math.Abs(e.Hours-hours) > 1e-9*hours || math.Abs(e.Dollars-2*hours) > 1e-9*hours {
		t.Errorf("%s", got.stdout)
	}
	d := e.DiskBytes
	if d.Model < 4*e.Parameters || d.Checkpoint < 3*d.Model || d.Checkpoint > 3*d.Model+d.Model/10 || d.Total != d.Model+int64(d.MaxCheckpoints)*d.Checkpoint || d.Free <= 0 {
		t.Errorf("disk: %+v", d)
	}
}

// TestDryRunFull warns of a run that does not fit on the disk.
func TestDryRunFull(t *testing.T) {
	args := []string{"train", "--dry-run", "--out", t.TempDir(), "--save-every", "1", "--steps", "1000000000"}
	if got := vlmtool(append(args, "--keep", "1000000000")...); got.code != 0 || !strings.Contains(got.stderr, "does not fit on the disk") {
		t.Errorf("%+v", got)
	}
	if got := vlmtool(append(args, "--keep", "1")...); got.code != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}
