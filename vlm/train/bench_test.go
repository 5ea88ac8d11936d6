package train

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
)

func BenchmarkShapes(b *testing.B) {
	r, err := Preset("shapes")
	require.NoError(b, err)
	bench, err := NewBench(cpu.Open(0), r, 6, 208)
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := bench.Step(context.Background())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(bench.Tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// TestRecordWorkFusion: RecordWork records fused layers for GPUs and separate ones for the CPU.
func TestRecordWorkFusion(t *testing.T) {
	for _, c := range []struct{ kind, runs, not string }{
		{"cpu", "swiglu", "swiglu_stacked"}, {"cpu", "rope", "rope_split"},
		{"discrete", "swiglu_stacked", "swiglu"}, {"software", "rope_split", "rope"},
	} {
		recorded, err := RecordWork(testRecipe(t, 1), "train", c.kind, 1, 96)
		require.NoError(t, err)
		has := map[string]bool{}
		for _, d := range recorded.Dispatches {
			has[d.Kernel.Name] = true
		}
		if !has[c.runs] || has[c.not] {
			t.Errorf("%s: %s runs: %v, %s runs: %v", c.kind, c.runs, has[c.runs], c.not, has[c.not])
		}
	}
}

// TestBenchSizes: sizes grow up to the recipe's step or the memory of the device.
func TestBenchSizes(t *testing.T) {
	for _, c := range []struct {
		preset string
		memory int64
		last   benchSize
	}{
		{"shapes", 1 << 40, benchSize{4, 384, 1, 704}},
		{"smollm2-135m-small", 64 << 30, benchSize{30, 49153, 1, 1024}},
		{"qwen3-1.7b", 80 << 30, benchSize{1, 8192, 8, 2048}}, // 8 GiB at most
		{"qwen3-1.7b", 0, benchSize{1, 8192, 1, 256}},         // unknown: 1 GiB
		{"qwen3-1.7b", 1 << 20, benchSize{1, 8192, 1, 256}},
	} {
		r, err := Preset(c.preset)
		require.NoError(t, err)
		info := engine.Info{Memory: c.memory}
		all := r.benchSizes(info)
		if last := all[len(all)-1]; last != c.last {
			t.Errorf("%s with %s: the last is %v, want %v", c.preset, engine.Bytes(c.memory), last, c.last)
		}
		if !slices.IsSortedFunc(all, func(a, b benchSize) int { return int(a.flops(r)/1e6 - b.flops(r)/1e6) }) {
			t.Errorf("%s: %v do not grow", c.preset, all)
		}
		for _, s := range all[1:] {
			if s.bytes(r) > benchMemory(info) {
				t.Errorf("%s: %v takes %s", c.preset, s, engine.Bytes(s.bytes(r)))
			}
		}
	}
}

// TestMeasureStep measures on every device, and checks that all memory is released.
func TestMeasureStep(t *testing.T) {
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			r := testRecipe(t, 1)
			before, _ := dev.MemoryInUse()
			got, err := MeasureStep(t.Context(), dev, r, 20*time.Second)
			require.NoError(t, err)
			if got.FlopsPerSecond <= 0 || !strings.Contains(got.Workload, "step of ") {
				t.Errorf("%+v", got)
			}
			if after, _ := dev.MemoryInUse(); after != before {
				t.Errorf("%d bytes in use before, %d after", before, after)
			}
		})
	}
}

// TestMeasureStepErrors: a time limit that is too short and a cancelled context are errors.
func TestMeasureStepErrors(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	if _, err := MeasureStep(t.Context(), dev, testRecipe(t, 1), time.Nanosecond); err == nil || !strings.Contains(err.Error(), "takes longer than 1ns") {
		t.Errorf("too short: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MeasureStep(ctx, dev, testRecipe(t, 1), time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
